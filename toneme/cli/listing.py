"""`codec list`: the codecs that are there."""

import json as json_format
from typing import Any

from toneme.cli import options


def list_(json: options.Json = False) -> None:
    """List the packaged codecs, and the official ones whose checkpoints can be converted."""
    from toneme.codecs.registry import list_codecs, official_names

    codecs, official = [row(about) for about in list_codecs()], official_names()
    if json:
        print(json_format.dumps({"codecs": codecs, "official": official}))
        return
    for codec in codecs:
        also = f" ({', '.join(codec['aliases'])})" if codec["aliases"] else ""
        print(f"{codec['name']}{also}: {sketch(codec['spec'])}, {codec['licence'] or 'licence not stated'}")
    if not codecs:
        print("no codec is packaged here")
    print(f"official checkpoints that `codec convert` takes: {', '.join(official) or 'none'}")


def row(about: Any) -> dict[str, Any]:
    """Return what is known of a codec as plain JSON types."""
    return {
        "name": about.name, "aliases": list(about.aliases), "family": about.family, "folder": str(about.folder),
        "parameters": about.parameters, "licence": about.spec.licence, "spec": about.spec.to_dict(),
    }  # fmt: skip


def sketch(spec: dict[str, Any]) -> str:
    """Return a codec's figures in a few words."""
    kind = "causal" if spec["causal"] else "not causal"
    low, high = spec["kbps"][0], spec["kbps"][-1]
    return (
        f"{spec['sample_rate']} Hz, {spec['channels']} channel{'s' * (spec['channels'] != 1)}, "
        f"{spec['frame_rate']:g} frames/s, {spec['codebooks']} codebooks, {low:.3g} to {high:.3g} kbps, {kind}, "
        f"{1000 * spec['latency'] / spec['sample_rate']:.0f} ms latency"
    )
