//! `kvs backup` and `kvs restore`: what a backup has while others write, and what is refused.

mod one_moment;
mod refused;
