from .cli import main

if __name__ == "__main__":  # and not where multiprocessing imports it for a worker
    raise SystemExit(main())
