//! Tests against real programs: web servers and a browser.

mod browser;
