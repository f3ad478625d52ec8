"""The inbox page in a real browser, as a user sees, hears and operates it."""

from collections.abc import Callable

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from camara_otp import InvalidOTPError, OTPClient
from camara_otp.sandbox import Fault, Sandbox

PHONE, OTHER = "+346661113334", "+447700900123"
Open = Callable[..., Page]
Send = Callable[..., httpx.Response]
PHONE_WIDTH = {"width": 375, "height": 740}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`&lt; {{code}} \u202emirrored"


def check(http: httpx.Client, authentication_id: str, code: str) -> httpx.Response:
    """Ask whether a code is right."""
    return http.post("/otpvalidation/validate-code", json={"authenticationId": authentication_id, "code": code})


def state(page: Page, number: int = -1) -> str:
    """Return the state shown for a message."""
    return page.locator(".message .state").nth(number).inner_text()


def test_flow(open_page: Open, url: str, sandbox: Sandbox) -> None:
    """A code sent by the client appears without a reload, can be copied, and shows its state."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("heading", name="Send a code: the SMS appears here.")).to_be_visible()
    with OTPClient(url, token="any") as otp:
        sent = otp.send_code(PHONE, "{{code}} is your short code to authenticate with Cool App via SMS")
        code = sandbox.last_code(PHONE)
        expect(page.locator(".bubble")).to_have_text(f"{code} is your short code to authenticate with Cool App via SMS")
        expect(page.get_by_role("button", name=PHONE)).to_have_attribute("aria-current", "true")
        assert state(page).startswith("Waiting")
        assert "left" in state(page)
        expect(page.locator(".facts")).to_contain_text(sent.x_correlator or "nothing")
        expect(page.locator(".facts")).to_contain_text(sent.authentication_id)
        page.get_by_role("button", name="Copy the code").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == code
        with pytest.raises(InvalidOTPError):
            otp.validate_code(sent.authentication_id, "nope")
        expect(page.locator(".call[data-error]")).to_contain_text("INVALID_OTP")
        expect(page.locator(".tries")).to_have_text("2")
        otp.validate_code(sent.authentication_id, copied)
        expect(page.locator(".message")).to_have_attribute("data-state", "verified")
        assert state(page) == "Verified"


def test_hostile_text_stays_text(open_page: Open, send: Send, http: httpx.Client, sandbox: Sandbox) -> None:
    """Markup in a message or in a requested path is shown as text and never runs."""
    page = open_page()
    send(PHONE, HOSTILE, correlator="<script>alert</script>")
    shown = HOSTILE.replace("{{code}}", sandbox.last_code(PHONE))
    expect(page.locator(".bubble")).to_have_text(shown)
    assert page.locator(".bubble").evaluate("node => node.textContent") == shown
    assert page.locator("#items img, #items script, #phones img, #phones script").count() == 0
    message = "<img src=x onerror=alert(3)>"
    sandbox.add_fault(Fault(code="<b>\u202e", status=500, message=message, phone_number=PHONE, times=1))
    send(PHONE)
    expect(page.locator(".alone .say")).to_have_text("<img src=x onerror=alert(3)>")
    expect(page.locator(".phone .glance")).to_have_text("<b>\u202e")
    http.post("/<svg/onload=alert(4)>")
    page.get_by_role("button", name="Other requests").click()
    expect(page.locator(".alone")).to_contain_text("/<svg/onload=alert(4)>")


def test_policy_stops_what_gets_through(browser: Browser, url: str) -> None:
    """If markup got into the page, its script would not run."""
    page = browser.new_page()
    page.goto(url)
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", () => resolve("stopped"), {once: true});
          const script = document.createElement("script");
          try {
            script.textContent = "window.ran = 1";
            document.body.append(script);
          } catch { resolve("stopped"); }
          setTimeout(() => resolve("nothing"), 1000);
        })"""
    )
    assert blocked == "stopped"
    assert page.evaluate("window.ran") is None
    page.close()


def test_what_was_there_does_not_arrive(open_page: Open, send: Send, sandbox: Sandbox) -> None:
    """Earlier messages are shown at once, with the time of the operator, when the page is opened."""
    send(PHONE)
    sandbox.advance(7200)
    page = open_page()
    expect(page.locator(".message")).to_be_visible()
    assert page.locator(".message").evaluate("node => node.getAnimations().length") == 0
    ahead = page.evaluate("(now() - Date.now() / 1000)")
    assert abs(ahead - 7200) < 5
    clock = "[0, 1, 2].map((ago) => timeFormat.format(new Date((now() - ago) * 1000)))"
    assert page.evaluate(f"{clock}.includes(document.getElementById('now').textContent)")


def test_states(open_page: Open, send: Send, http: httpx.Client, sandbox: Sandbox) -> None:
    """Waiting, verified, superseded, failed and expired have different words."""
    page = open_page()
    ids = [send(PHONE).json()["authenticationId"] for _ in range(2)]
    expect(page.locator(".message")).to_have_count(2)
    assert [state(page, 0), state(page, 1).split()[0]] == ["Superseded", "Waiting"]
    check(http, ids[1], sandbox.last_code(PHONE))
    expect(page.locator(".message").nth(1)).to_have_attribute("data-state", "verified")
    ids.append(send(PHONE).json()["authenticationId"])
    for _ in range(3):
        check(http, ids[2], "wrong")
    expect(page.locator(".message").nth(2)).to_have_attribute("data-state", "failed")
    expect(page.locator(".message").nth(2).locator(".call")).to_have_count(3)
    send(PHONE)
    expect(page.locator(".message").nth(3)).to_have_attribute("data-state", "waiting")
    page.get_by_role("button", name="+5 min").click()
    expect(page.locator(".message").nth(3)).to_have_attribute("data-state", "expired")
    assert [state(page, number) for number in range(4)] == ["Superseded", "Verified", "Failed", "Expired"]


def test_time_runs_out_without_an_event(open_page: Open, send: Send, sandbox: Sandbox) -> None:
    """The page shows the expiry of a code without an event."""
    page = open_page()
    send(PHONE)
    sandbox.advance(297)
    expect(page.locator(".message .state")).to_contain_text("0:0")
    expect(page.locator(".message")).to_have_attribute("data-state", "expired")


def test_errors_are_shown(open_page: Open, send: Send, http: httpx.Client, sandbox: Sandbox) -> None:
    """Refused sends are shown with their phone, requests without a phone separately, faults in a banner."""
    page = open_page()
    send("+34600000002", correlator="blocked-1")
    expect(page.locator(".alone")).to_contain_text("PHONE_NUMBER_BLOCKED")
    expect(page.locator(".alone")).to_contain_text("blocked-1")
    send(PHONE, "{code} is your code")
    page.get_by_role("button", name=PHONE).click()
    expect(page.locator(".alone")).to_contain_text("message must contain {{code}}.")
    http.post("/otpvalidation/send-code", json={}, headers={"Authorization": "none"})
    page.get_by_role("button", name="Other requests").click()
    expect(page.locator(".alone")).to_contain_text("UNAUTHENTICATED")
    sandbox.add_fault(Fault(drop="after", phone_number=PHONE, times=2))
    expect(page.locator("#faults")).to_contain_text(f"drop after for {PHONE} (2 more)")
    with pytest.raises(httpx.RemoteProtocolError):
        send(PHONE)
    page.get_by_role("button", name=PHONE).click()
    expect(page.locator(".call").last).to_contain_text("connection dropped")
    page.get_by_role("button", name="Clear faults").click()
    expect(page.locator("#faults")).to_be_hidden()
    assert sandbox.faults() == []


def test_search(open_page: Open, send: Send, sandbox: Sandbox) -> None:
    """Numbers, messages, codes, correlators and ids find their phone."""
    send(PHONE, "Cool App: {{code}}", correlator="login-1")
    identifier = send(OTHER, "Warm App: {{code}}").json()["authenticationId"]
    page = open_page()
    phones = page.locator(".phone:visible .number")
    page.keyboard.press("/")
    for query, found in [
        ("666111", PHONE),
        ("warm app", OTHER),
        (sandbox.last_code(PHONE), PHONE),
        ("LOGIN-1", PHONE),
        (identifier, OTHER),
    ]:
        page.get_by_role("searchbox").fill(query)
        expect(phones).to_have_text([found])
        expect(page.locator("#title")).to_have_text(found)
    for _ in range(12):
        send(PHONE)
    expect(page.locator(".fresh").first).to_have_text("12 new")
    page.get_by_role("searchbox").fill("cool app")
    expect(page.locator(".message[data-hit] .bubble")).to_be_in_viewport()
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.get_by_text("Nothing matches the search.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(phones).to_have_count(2)


def test_unread_and_live_order(open_page: Open, send: Send) -> None:
    """An SMS to another phone is counted there, and the phone with the newest SMS is first."""
    send(PHONE)
    page = open_page()
    expect(page.locator("#title")).to_have_text(PHONE)
    send(OTHER)
    send(OTHER)
    expect(page.locator(".phone .number")).to_have_text([OTHER, PHONE])
    expect(page.locator(".phone").first.locator(".fresh")).to_have_text("2 new")
    expect(page).to_have_title("(2) Sandbox inbox")
    expect(page.locator("#title")).to_have_text(PHONE)
    page.get_by_role("button", name=OTHER).click()
    expect(page.locator(".phone").first.locator(".fresh")).to_be_hidden()
    expect(page.locator(".message")).to_have_count(2)
    assert OTHER[1:] in page.url


def test_unread_behind_another_tab(open_page: Open, send: Send) -> None:
    """While the page is hidden, its title counts the new SMS of all phones."""
    send(PHONE)
    page = open_page()
    look = """away => {
        Object.defineProperty(document, "hidden", {value: away, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(look, arg=True)
    send(PHONE)
    expect(page).to_have_title("(1) Sandbox inbox")
    page.evaluate(look, arg=False)
    expect(page).to_have_title("Sandbox inbox")


def test_link_to_a_phone(open_page: Open, send: Send) -> None:
    """The URL of the page opens the phone again; an unknown phone does no harm."""
    send(PHONE)
    send(OTHER)
    page = open_page(f"/#{PHONE}")
    expect(page.locator("#title")).to_have_text(PHONE)
    page.evaluate(f"location.hash = '{OTHER}'")
    expect(page.locator("#title")).to_have_text(OTHER)
    expect(open_page("/#%").locator("#title")).to_have_text(OTHER)


def test_keyboard(open_page: Open, send: Send, sandbox: Sandbox) -> None:
    """Everything works without a mouse, and the focus does not move when an SMS arrives."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    send(PHONE)
    send(OTHER)
    expect(page.locator(".phone")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the messages")).to_be_focused()
    page.locator(".phone").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#title")).to_have_text(PHONE)
    expect(page.get_by_role("button", name=PHONE)).to_be_focused()
    page.keyboard.press("c")
    expect(page.get_by_text("Copied").first).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == sandbox.last_code(PHONE)
    page.locator(".copy").last.focus()
    send(PHONE)
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator(".message").first.locator(".copy")).to_be_focused()


def test_focus_goes_along_with_its_phone(open_page: Open, send: Send) -> None:
    """If an SMS moves the focused phone to the top, the phone keeps the focus."""
    send(PHONE)
    send(OTHER)
    page = open_page()
    page.locator(".phone").last.focus()
    send(PHONE)
    expect(page.locator(".phone .number")).to_have_text([PHONE, OTHER])
    expect(page.get_by_role("button", name=PHONE)).to_be_focused()


def test_screen_reader_is_told_the_newest_only(open_page: Open, sandbox: Sandbox) -> None:
    """A hundred SMS at once are not all announced."""
    page = open_page()
    with httpx.Client(transport=sandbox.transport(), headers={"Authorization": "Bearer any"}) as inside:
        for number in range(100):
            body = {"phoneNumber": f"+3460010{number:04}", "message": "{{code}}"}
            inside.post("http://a.test/otpvalidation/send-code", json=body)
    expect(page.locator(".phone")).to_have_count(100)
    expect(page.locator("#announce")).to_contain_text("New text to +34600100099")
    expect(page.locator("#announce")).to_contain_text("more events before these")
    assert page.locator("#announce > div").count() < 50


def test_screen_reader_is_told(open_page: Open, send: Send, http: httpx.Client, sandbox: Sandbox) -> None:
    """New SMS, changed states and errors are announced."""
    page = open_page()
    identifier = send(PHONE).json()["authenticationId"]
    expect(page.locator("#announce")).to_contain_text(f"New text to {PHONE}: {sandbox.last_code(PHONE)} is your code")
    check(http, identifier, sandbox.last_code(PHONE))
    expect(page.locator("#announce")).to_contain_text(f"Code to {PHONE}: Verified")
    send("+34600000002")
    expect(page.locator("#announce")).to_contain_text("PHONE_NUMBER_BLOCKED")


def test_reset(open_page: Open, send: Send, sandbox: Sandbox) -> None:
    """The reset asks for confirmation, and then empties sandbox and page."""
    page = open_page()
    send(PHONE)
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert sandbox.messages()
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.get_by_text("No phone has received anything yet.")).to_be_visible()
    assert sandbox.messages() == []
    send(OTHER)
    expect(page.locator("#title")).to_have_text(OTHER)
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").evaluate("dialog => dialog.close()")  # as Escape does in some browsers
    expect(page.get_by_role("dialog")).to_be_hidden()
    send(OTHER)
    expect(page.locator(".message")).to_have_count(2)


def test_theme(open_page: Open) -> None:
    """The page has the theme of the system; the user can change it, and the page stores the choice."""
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == light
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(background) == dark


def test_phone_width(open_page: Open, send: Send) -> None:
    """On a narrow screen, the phones and their SMS are two views, and nothing overflows."""
    page = open_page(viewport=PHONE_WIDTH)
    expect(page.get_by_role("heading", name="Send a code: the SMS appears here.")).to_be_visible()
    send(PHONE, "{{code}} " + "long" * 30)
    expect(page.get_by_role("button", name=PHONE).locator(".fresh")).to_have_text("1 new")
    page.get_by_role("button", name=PHONE).press("Enter")
    expect(page.locator(".bubble")).to_be_visible()
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("#title")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH["width"]
    page.get_by_role("button", name="Back to the phones").click()
    expect(page.get_by_role("button", name=PHONE)).to_be_focused()


def test_reconnects_to_a_new_sandbox(browser: Browser) -> None:
    """When the server starts again, the page reports it, reconnects, and shows the new state."""
    first, second = Sandbox(), Sandbox(dialect="omantel")
    page = browser.new_page(viewport=PHONE_WIDTH)
    with first.serve() as url:
        page.goto(url)
        body = {"phoneNumber": PHONE, "message": "{{code}}"}
        first(
            httpx.Request("POST", url + "/otpvalidation/send-code", json=body, headers={"Authorization": "Bearer any"})
        )
        expect(page.locator(".message")).to_have_count(1)
    expect(page.locator("#link")).to_have_text("Reconnecting")
    assert page.locator("#link span").evaluate("node => node.offsetWidth") > 40
    with second.serve(port=int(url.rpartition(":")[2])):
        expect(page.locator("#link")).to_have_text("Live", timeout=15_000)
        expect(page.locator("#welcome")).to_be_visible()
        expect(page.locator("#try")).to_contain_text("/v1/otp/send-code")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE_WIDTH, {"width": 1280, "height": 800}])
def test_accessible(
    open_page: Open, send: Send, http: httpx.Client, sandbox: Sandbox, scheme: str, viewport: dict[str, int]
) -> None:
    """An accessibility checker finds no fault in either theme at either width, contrast included."""
    for number in (PHONE, OTHER):
        identifier = send(number).json()["authenticationId"]
        check(http, identifier, "wrong")
    check(http, identifier, sandbox.last_code(OTHER))
    send(PHONE)
    send("+34600000002")
    sandbox.add_fault(Fault(code="INTERNAL"))
    page = open_page(color_scheme=scheme, viewport=viewport, bypass_csp=True, reduced_motion="reduce")
    axe = Axe()
    for number in ("", PHONE, OTHER, "+34600000002"):
        if number:
            page.get_by_role("button", name=number).last.click()
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        if number and viewport is PHONE_WIDTH:
            page.get_by_role("button", name="Back to the phones").click()


def test_many_messages(open_page: Open, sandbox: Sandbox, http: httpx.Client) -> None:
    """An inbox with thousands of SMS opens, and a new one is drawn without drawing the others again."""
    body = {"message": "{{code}}"}
    with httpx.Client(transport=sandbox.transport(), headers={"Authorization": "Bearer any"}) as inside:
        for index in range(1500):
            number = f"+3460010{index % 300:04}"
            inside.post("http://a.test/otpvalidation/send-code", json={**body, "phoneNumber": number})
        page = open_page()
        expect(page.locator(".phone").first).to_be_visible()
        watch = """window.touched = new Set(); new MutationObserver((records) => {
            for (const {target} of records) touched.add(target.closest?.(".phone") ?? target);
        }).observe(document.getElementById("phones"), {childList: true, attributes: true, subtree: true})"""
        page.evaluate(watch)
        inside.post("http://a.test/otpvalidation/send-code", json={**body, "phoneNumber": PHONE})
    expect(page.get_by_role("button", name=PHONE)).to_be_visible()
    assert page.evaluate("touched.size") < 5
