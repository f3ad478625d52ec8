"""Run the command line: `python -m camara_otp`."""

from camara_otp.cli import main

main()
