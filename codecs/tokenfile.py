"""The token file `.tok`: written and read in one go, in pieces, or as a stream. TOKENFILE.md specifies the bytes."""

from .tokenfile_header import MAGIC, VERSION, Header
from .tokenfile_reader import Report, TokenReader, read_tok
from .tokenfile_writer import TokenWriter, write_tok

__all__ = ["MAGIC", "VERSION", "Header", "Report", "TokenReader", "TokenWriter", "read_tok", "write_tok"]
