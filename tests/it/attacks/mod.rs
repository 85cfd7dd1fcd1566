//! Attacks, one file for each kind. The table in SECURITY.md says which test guards against which threat.

mod header_lines;
mod leaked_secrets;
mod many_addresses;
mod memory_hunger;
mod modes_and_masks;
mod other_sites;
mod out_of_the_folder;
mod secret_timing;
mod stored_scripts;
mod unkeyed_headers;
