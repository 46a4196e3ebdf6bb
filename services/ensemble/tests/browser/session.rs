//! Who is let in, and what cannot be broken.

use serde_json::json;

use crate::browser::Browser;
use crate::page::{Page, keys};
use crate::stage::{OVERLAY, Stage};

const TOKEN: &str = "a secret of the test";

#[test]
fn the_page_asks_for_the_token_and_says_what_cannot_be_broken() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[OVERLAY], &[("CONSOLE_TOKEN", TOKEN)]);
    stage.site.variables.retain(|(name, _)| name != "CHASSIS_FAULTS");
    stage.site.up(&["overlay"]);
    let mut page = Page::open(browser, &stage.console.address);
    // The browser logs what was refused, whatever the page makes of it.
    page.excuse("the server responded with a status of 401");
    page.sees("dialog#login[open]");
    assert_eq!(page.count("[data-node]"), 0, "nothing is shown to strangers");
    page.write("#token", "not the secret at all");
    page.press(keys::ENTER);
    page.reads("#login-error", "that is not the token: see CONSOLE_TOKEN");
    // It cannot be closed without the token.
    page.press(keys::ESCAPE);
    page.sees("dialog#login[open]");
    page.fill("#token", TOKEN);
    page.click("#login-submit");
    page.misses("dialog#login[open]");
    page.reads("#connection", "Live");
    page.reads("#plan-summary", "6 nodes on 1 host, all serving");
    page.reload();
    page.reads("#plan-summary", "6 nodes on 1 host, all serving");
    assert_eq!(page.count("dialog#login[open]"), 0, "it is let in");
    page.click("#plan [data-node='overlay/A']");
    page.reads("#break-note", "CHASSIS_FAULTS=on");
    page.misses("#break-menu");
    page.misses("#break-heal");
    // After another start the token is asked for again.
    page.excuse("net::ERR_");
    stage.console.kill();
    page.reads("#connection", "Stale for");
    stage.show();
    page.sees("dialog#login[open]");
    page.reads("#connection", "Needs the token");
    // A link with a token is enough, even where the page is open already.
    page.run("location.hash = '#token=not-the-secret';", &[]);
    page.reads("#login-error", "that is not the token");
    page.run("location.hash = `#token=${encodeURIComponent(arguments[0])}`;", &[json!(TOKEN)]);
    page.misses("dialog#login[open]");
    page.reads("#connection", "Live");
    assert_eq!(page.run("return location.hash;", &[]), "#/", "it is out of sight");
    page.was_sound();
}
