"""isoq measured beside other codecs: `isoq evaluate`."""
