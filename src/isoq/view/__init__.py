"""`isoq view`: a page that shows a file beside its original, served on this machine alone."""
