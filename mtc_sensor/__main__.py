"""`python -m mtc_sensor`: the same as `mtc-sensor`."""

from mtc_sensor.cli import main

if __name__ == "__main__":
    main()
