"""`camara-otp sandbox`: run the local operator."""

import click


@click.command(
    help="Run a local operator with an inbox.\n\nIts options: `camara-otp sandbox --help`.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def sandbox(*, arguments: tuple[str, ...]) -> int:
    """Run a local operator with an inbox."""
    from camara_otp.sandbox.__main__ import main  # noqa: PLC0415 - needs another extra

    try:
        return main(arguments, program="camara-otp sandbox")
    except SystemExit as ended:  # raised by argparse
        return int(ended.code or 0)
