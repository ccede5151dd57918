__version__ = "0.1.0"  # the only place; pyproject.toml takes it from here
