"""isoq inside other libraries. Each module needs the library that it is for, and the rest of isoq
does not import them."""
