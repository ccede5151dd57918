"""isoq inside other libraries. Each module needs the library that it is for, and nothing else of
isoq imports them."""
