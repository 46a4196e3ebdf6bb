//! The view of the hash ring, on a circle so large that JavaScript's numbers cannot tell its places
//! apart.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::hostile;
use crate::page::Page;
use crate::stage::{CHORD, Stage};

/// The nodes as the circle shows them, without the registry.
const NODES: &str = "[...document.querySelectorAll('#chord-circle .token')]";

#[test]
fn keys_are_found_on_a_circle_whose_places_are_exact() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[CHORD], &[]);
    let compose = stage.site.path().join("compose.yaml");
    let text = fs::read_to_string(&compose).expect("a file");
    assert_eq!(text.matches("CHORD_BITS: \"5\"").count(), 1, "m is set in one place");
    fs::write(&compose, text.replace("CHORD_BITS: \"5\"", "CHORD_BITS: \"64\"")).expect("written");
    stage.site.up(&["chord"]);
    let page = Page::open(browser, &stage.console.address);
    page.visit("chord");
    page.until(
        "six nodes on one ring",
        &format!(
            "return {NODES}.filter((each) => each.dataset.health === 'serving').length === 6
               && document.querySelectorAll('#chord-table tr').length === 6
               && document.querySelectorAll('#chord-circle .arcs path').length === 6;"
        ),
        &[],
    );
    page.reads("#chord-circle", "2⁶⁴ places");
    let ids = exact(&stage, &page);
    keys_are_found(&stage, &page);
    fingers(&page, &ids);
    page.was_sound();
}

/// The ids, which are those that the command line tells.
fn exact(stage: &Stage, page: &Page) -> BTreeSet<String> {
    let shown =
        page.run(&format!("return {NODES}.map((each) => each.dataset.node.split('/')[1]);"), &[]);
    let shown = shown.as_array().expect("a list").iter();
    let shown = shown.map(|id| id.as_str().expect("text").to_owned()).collect::<BTreeSet<_>>();
    let endpoints = stage.endpoints("chord-1");
    let told = stage.site.succeed(&["chord", "--endpoints", &endpoints, "ring"]);
    for id in &shown {
        assert!(told.contains(id.as_str()), "{id} is not in {told}");
    }
    let large = shown.iter().filter(|id| id.parse::<u64>().is_ok_and(|id| 1 << 53 < id));
    assert!(large.count() >= 4, "{shown:?}: ids that are not exact as a number of JavaScript");
    shown
}

fn keys_are_found(stage: &Stage, page: &Page) {
    let endpoints = stage.endpoints("chord-");
    page.fill("#chord-key", "Minsk");
    page.fill("#chord-value", "Belarus");
    page.click("#save");
    page.reads("#chord-form-result", "Minsk saved");
    page.click("#save");
    page.reads("#chord-form-result", "Minsk was there already");
    page.reads("#chord-path li:first-child", "was asked first");
    let nodes = endpoints.split_once(',').expect("the registry and nodes").1;
    let found = stage.site.succeed(&["chord", "--endpoints", nodes, "find", "Minsk"]);
    assert!(found.contains("Belarus"), "{found}");
    page.click("#find");
    page.reads("#chord-form-result", "Minsk found: Belarus");
    page.sees("#chord-circle .key-place");
    page.reads("#chord-feed", "find Minsk");
    // Of several keys one at least is farther away than one step.
    let far =
        ["Riga", "Oslo", "Lima", "Bern", "Kyiv", "Doha", "Cairo", "Accra"].iter().any(|key| {
            page.fill("#chord-key", key);
            page.click("#locate");
            page.reads("#chord-form-result", &format!("{key} located"));
            page.until(
                "as many lines are drawn as there are steps",
                "const hops = document.querySelectorAll('#chord-path [data-hop]').length;
             const drawn = document.querySelectorAll('#chord-circle .hop[visibility=visible]');
             const due = document.querySelectorAll('#chord-circle .hop');
             return hops > 0 && drawn.length === due.length && due.length <= hops;",
                &[],
            );
            page.count("#chord-circle .hop") > 0
        });
    assert!(far, "every key was at the node that was asked");
    page.fill("#chord-key", hostile::TEXT);
    page.fill("#chord-value", hostile::TEXT);
    page.click("#save");
    page.reads("#chord-form-result", "saved");
    page.click("#find");
    page.reads("#chord-form-result", &format!("found: {}", hostile::TEXT));
    hostile::nothing_was_made(page);
    page.fill("#chord-key", "Minsk");
    page.click("#remove");
    page.reads("#chord-form-result", "Minsk removed");
    page.click("#find");
    page.reads("#chord-form-result", "Minsk is not there");
}

/// The chosen node's fingers lead to nodes of the ring, by their whole ids.
fn fingers(page: &Page, ids: &BTreeSet<String>) {
    page.click("#chord-table tr:first-child button");
    page.sees("#panel");
    let titles = page.until(
        "fingers, a successor and a predecessor",
        "const of = (css) => [...document.querySelectorAll(`#chord-circle .fingers ${css} title`)];
         const others = of('.finger:not(.successor, .predecessor)');
         return others.length > 0 && of('.successor').length === 1
           && of('.predecessor').length === 1 ? of('path').map((each) => each.textContent) : null;",
        &[],
    );
    for title in titles.as_array().expect("a list") {
        let id = title.as_str().and_then(|title| title.rsplit(' ').next()).expect("an id");
        assert!(ids.contains(id), "{title}: not one of {ids:?}");
    }
    // The panel has made the circle smaller: the key's place is still on it.
    page.until(
        "the key's place is on the rim",
        "const [rim, at] = ['.rim', '.key-place'].map((css) => document
           .querySelector(`#chord-circle ${css}`).getBoundingClientRect());
         const [x, y] = [at.left + at.width / 2 - rim.left - rim.width / 2,
           at.top + at.height / 2 - rim.top - rim.height / 2];
         return Math.abs(Math.hypot(x, y) - rim.width / 2) < 3;",
        &[],
    );
    page.click("#panel-close");
    page.until(
        "nobody's fingers",
        "return document.querySelectorAll('#chord-circle .fingers path').length === 0;",
        &[json!(null)],
    );
}
