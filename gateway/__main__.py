"""`python -m gateway`: the same as the `reelgate` console script."""

from gateway.cli.main import main

if __name__ == "__main__":
    main()
