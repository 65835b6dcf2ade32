//! What the stories are told with: sites to start, peers that misbehave, files to send.
#![allow(dead_code, reason = "each story uses the part that it needs")]

pub mod archive;
pub mod beside;
pub mod caller;
pub mod calls;
pub mod certs;
pub mod config;
pub mod corpus;
pub mod damage;
pub mod dcmtk;
pub mod files;
pub mod gateway;
pub mod holder;
pub mod key_holder;
pub mod ledger;
pub mod load;
pub mod many_wires;
pub mod multipart;
pub mod odd_node;
pub mod one_fault;
pub mod ordeal;
pub mod orthanc;
pub mod pacs;
pub mod power;
pub mod process;
pub mod proxy;
pub mod python;
pub mod radiology;
pub mod scripted_peer;
pub mod store_answer;
pub mod tls;
pub mod tools;
pub mod two_sites;
pub mod wait;
pub mod web;
pub mod wire;
