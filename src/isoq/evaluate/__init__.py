"""`isoq evaluate`: compare a model with other codecs."""
