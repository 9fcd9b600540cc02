//! What is handed to those who ask: evidence bundles.
//!
//! * [`evidence`]: records with everything that shows them to be the recorded ones, as one file
//! * `archive`: the form of zip that such a file has
//!
//! `docs/formats/evidence.md` is the format; `indelible-verify`, `verify.py` and `index.html` read it.

#![forbid(unsafe_code)]

mod archive;
pub mod evidence;
