"""Run the command line: `python -m camara_otp.cli`."""

from camara_otp.cli import main

main()
