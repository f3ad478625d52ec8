"""A worker process: print a token for each input line, which is the rejected token or empty."""

import sys

from camara_otp.auth import ClientCredentials, RedisStore


def main(url: str, token_url: str) -> None:
    provider = ClientCredentials(token_url, "client", client_secret="s3cr3t", store=RedisStore.from_url(url))
    print("ready", flush=True)
    for line in sys.stdin:
        print(provider.get_token(rejected=line.strip() or None, timeout=20), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
