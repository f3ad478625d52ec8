"""Scope strings."""

import pytest

from camara_otp.auth import scope
from camara_otp.auth.scopes import checked_scope, missing_scopes
from camara_otp.errors import ConfigurationError

API = "one-time-password-sms:send-validate"


@pytest.mark.parametrize(
    ("names", "options", "text"),
    [
        ((), {}, API),
        ((API,), {"purpose": "FraudPreventionAndDetection"}, f"dpv:FraudPreventionAndDetection {API}"),
        ((API,), {"purpose": "dpv:FraudPreventionAndDetection"}, f"dpv:FraudPreventionAndDetection {API}"),
        ((API,), {"purpose": "ServiceProvision", "joined": True}, f"dpv:ServiceProvision#{API}"),
        (("a", "b"), {"purpose": "X", "joined": True}, "dpv:X#a dpv:X#b"),
        ((), {"purpose": "X", "openid": True}, f"openid dpv:X {API}"),
        ((), {"openid": True, "offline": True}, f"openid offline_access {API}"),
    ],
)
def test_scope_is_written_as_operators_publish_it(names, options, text):
    """Both forms of a purpose; the scopes of OpenID come first."""
    assert scope(*names, **options) == text


@pytest.mark.parametrize(
    ("names", "options", "field"),
    [
        (("a b",), {"joined": True}, "joined"),
        ((), {"purpose": "Fraud Prevention"}, "purpose"),
        ((), {"purpose": "dpv:"}, "purpose"),
        (('quo"te',), {}, "scope"),
        (("a\n",), {}, "scope"),
        (("",), {}, "scope"),
        (("back\\slash",), {}, "scope"),
    ],
)
def test_what_no_scope_can_hold_is_refused(names, options, field):
    """Only characters of RFC 6749 are accepted, and `joined` needs a purpose."""
    with pytest.raises(ConfigurationError, match=f"^{field}:"):
        scope(*names, **options)


def test_a_scope_of_a_users_own_is_taken_as_it_is():
    assert checked_scope("dpv:X#a openid Any-Thing/else") == "dpv:X#a openid Any-Thing/else"


@pytest.mark.parametrize(
    ("requested", "granted", "lacking"),
    [
        (API, API, []),
        (API, f"{API} more", []),
        (API, "other", [API]),
        (API, "", [API]),
        (API, API.upper(), []),
        (API, f"api://op.example/{API}", []),
        (API, f"openid,{API},profile", []),
        (API, f"other, {API}", []),
        (API, f"x{API}", [API]),
        (f"openid dpv:X offline_access {API}", API, []),
        (f"dpv:X#{API}", API, []),
        (f"dpv:X#{API}", f"dpv:X#{API}", []),
        (API, f"dpv:X#{API}", []),
        (f"dpv:X#{API}", "dpv:X", [f"dpv:X#{API}"]),
        ("a b c", "b", ["a", "c"]),
    ],
)
def test_a_narrower_grant_is_told_from_an_equal_one(requested, granted, lacking):
    """A response may leave out purposes and the scopes of OpenID."""
    assert missing_scopes(requested, granted) == lacking
