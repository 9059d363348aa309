"""Training audio: recordings found, cropped, levelled and augmented, in an order that depends on the seed alone."""
