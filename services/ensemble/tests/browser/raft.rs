//! The view of the replicated store: keys, leaders, and the history in which one goes back.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::browser::Browser;
use crate::hostile;
use crate::page::{Page, keys};
use crate::site::eventually;
use crate::stage::{RAFT, Stage};

/// Who leads, as the ring shows it.
const LEADER: &str = "document.querySelector('#raft-ring .token[data-leads]')?.dataset.node";

#[test]
fn the_store_is_used_and_its_leaders_are_followed_through_time() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[RAFT], &[]);
    stage.site.up(&["raft"]);
    let page = Page::open(browser, &stage.console.address);
    page.visit("raft");
    page.until(
        "five nodes, all serving, and one leads",
        "return document.querySelectorAll('#raft-ring .token[data-health=serving]').length === 5
           && document.querySelectorAll('#raft-ring .token[data-leads]').length === 1;",
        &[],
    );
    keys_are_kept(&stage, &page);
    let (before, after) = another_leads(&page);
    history(&page, &before, &after);
    file(&page, &before);
    page.was_sound();
}

fn keys_are_kept(stage: &Stage, page: &Page) {
    let endpoints = stage.endpoints("raft");
    let raft = |arguments: &[&str]| {
        stage.site.run(&[&["raft", "--endpoints", &endpoints], arguments].concat())
    };
    page.fill("#put-key", "colour");
    page.fill("#put-value", "ultramarine");
    page.click("#put");
    page.reads("#raft-form-result", "there was none before");
    let got = raft(&["get", "colour"]);
    assert!(String::from_utf8_lossy(&got.stdout).contains("ultramarine"), "{got:?}");
    assert!(raft(&["put", "colour", "sepia"]).status.success());
    page.click("#get");
    page.reads("#raft-form-result", "colour is sepia");
    page.reads("#raft-facts", "1 key in the store");
    page.click("#delete");
    page.reads("#raft-form-result", "Deleted");
    assert!(!raft(&["get", "colour"]).status.success(), "it is deleted");
    page.click("#get");
    page.reads("#raft-form-result", "colour holds nothing");
    page.click("#delete");
    page.reads("#raft-form-result", "colour held nothing");
    // Whatever a key and its value are, they are text.
    page.fill("#put-key", hostile::TEXT);
    page.fill("#put-value", hostile::TEXT);
    page.click("#put");
    page.reads("#raft-form-result", "Put: version");
    page.click("#get");
    page.reads("#raft-form-result", &format!("{0} is {0}", hostile::TEXT));
    page.reads("#raft-feed", &format!("get {}", hostile::TEXT));
    hostile::nothing_was_made(page);
    let committed = page.run("return document.querySelectorAll('#raft-log .applied').length;", &[]);
    assert!(committed.as_u64().is_some_and(|cells| 5 <= cells), "{committed}");
}

/// Suspends the leader by its menu; who led before and who does now.
fn another_leads(page: &Page) -> (String, String) {
    let before = page.until("one leads", &format!("return {LEADER};"), &[]);
    let before = before.as_str().expect("a key").to_owned();
    let token = format!("#raft-ring [data-node='{before}']");
    page.click(&token);
    page.click("#break-suspend-open");
    page.fill("#break-seconds", "6");
    page.click("#break-suspend");
    page.reads("#break-result", "Done: suspend");
    page.reads("#break-marks", "suspended");
    page.sees(&format!("{token}[data-broken] .token-mark"));
    page.reads(&format!("{token} .token-fault"), "suspended");
    let after = page.until(
        "another leads",
        &format!("const leader = {LEADER}; return leader && leader !== arguments[0] ? leader : 0;"),
        &[json!(before)],
    );
    page.reads("#raft-feed", "leads in term");
    // It is marked for as long as it is suspended, and then no longer.
    page.misses("#break-marks li");
    page.until(
        "its mark is gone",
        "return !document.querySelector(arguments[0]).hasAttribute('data-broken');",
        &[json!(token)],
    );
    page.until(
        "it follows",
        "return document.querySelector(arguments[0]).dataset.role === 'follower'
           && document.querySelector(arguments[0]).dataset.health === 'serving';",
        &[json!(token)],
    );
    page.click("#panel-close");
    // Of terms that follow each other closely one is named: the shorter the strip, the more are.
    page.choose("#strip-length", "30000");
    page.until(
        "two terms on the strip",
        "return document.querySelectorAll('#raft-strip .strip-term').length >= 2;",
        &[],
    );
    (before, after.as_str().expect("a key").to_owned())
}

fn history(page: &Page, before: &str, after: &str) {
    page.click("#play");
    page.reads("#connection", "Paused");
    page.sees("html[data-connection=past]");
    // The scrubber by its keys: to the start, and on in tenths until the earlier leader leads.
    page.run("document.getElementById('scrubber').focus();", &[]);
    page.press(keys::HOME);
    let found = (0..12).any(|_| {
        page.press(keys::PAGE_UP);
        // What was asked of the page is drawn a frame later.
        page.run_frames(2);
        page.run(&format!("return {LEADER};"), &[]) == before
    });
    assert!(found, "at some moment {before} led");
    page.reads("#moment", "back");
    page.click("#put");
    page.reads("#raft-form-result", "You are looking at the past");
    page.choose("#speed", "16");
    page.click("#play");
    page.until(
        "it is played until another leads",
        &format!(
            "return {LEADER} === arguments[0] && {};",
            "document.documentElement.dataset.connection === 'past'"
        ),
        &[json!(after)],
    );
    plays_once(page);
    page.click("#go-live");
    page.reads("#connection", "Live");
    page.misses("#go-live");
}

/// However often it is paused and played in a moment, it is played once.
fn plays_once(page: &Page) {
    page.choose("#speed", "1");
    let ahead = page.until_later(
        "const [done] = arguments;
         const of = (id) => document.getElementById(id);
         of('scrubber').value = 0;
         of('scrubber').dispatchEvent(new Event('input'));
         for (let click = 0; click < 9; click += 1) of('play').click();
         const shown = () => of('moment').textContent.split(' ')[0].split(':')
           .reduce((sum, part) => sum * 60 + Number(part), 0);
         requestAnimationFrame(() => requestAnimationFrame(() => {
           const [began, from] = [performance.now(), shown()];
           setTimeout(() => done(shown() - from - (performance.now() - began) / 1000), 2000);
         }));",
    );
    assert!(ahead.as_f64().is_some_and(|ahead| ahead < 2.0), "it is {ahead} s ahead");
}

fn file(page: &Page, before: &str) {
    page.click("#save-file");
    let path = eventually("it is saved", || saved(page));
    page.upload("#open-file", &path);
    page.reads("#connection", "File ensemble-");
    page.run("document.getElementById('scrubber').focus();", &[]);
    let found = (0..12).any(|_| {
        page.press(keys::PAGE_UP);
        page.run_frames(2);
        page.run(&format!("return {LEADER};"), &[]) == before
    });
    assert!(found, "in the file {before} led");
    page.click("#go-live");
    page.reads("#connection", "Live");
    let wrong = page.downloads().join("wrong.json");
    fs::write(&wrong, "{}").expect("written");
    page.upload("#open-file", &wrong);
    page.reads("#history-error", "wrong.json: This is no saved history");
    let later = fs::read_to_string(&path).expect("read");
    fs::write(&wrong, later.replacen("\"version\":1", "\"version\":2", 1)).expect("written");
    page.upload("#open-file", &wrong);
    page.reads("#history-error", "wrong.json: This file is of version 2");
    page.reads("#connection", "Live");
}

/// The file that the page has saved, once it is whole.
fn saved(page: &Page) -> Option<PathBuf> {
    let files = fs::read_dir(page.downloads()).expect("a folder").flatten();
    files.map(|file| file.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("ensemble-") && name.ends_with(".json")
    })
}
