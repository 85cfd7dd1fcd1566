//! Attacks on kvs behind real servers, and with a real browser. `tests/it/attacks/` has those on kvs alone.

mod behind_proxies;
mod fail2ban;
mod hostile_pages;
mod poisoned_caches;
