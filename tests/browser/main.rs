//! The page at `/admin` in a real browser: who manages a community works in it, by mouse and by keyboard, on large and
//! small screens. Needs Chromium and chromedriver; where these are missing each scene says that it was skipped.

#[path = "../common/mod.rs"]
mod common;
mod driver;
mod groups;
mod looks;
mod mirrors;
mod scenes;
mod town;
