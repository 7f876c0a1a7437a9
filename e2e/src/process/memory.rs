//! What a process has in its memory: `/proc/PID/mem`, see proc(5). Its parent may read it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

/// Read at once. Texts that lie across two reads are found too.
const STEP: usize = 1 << 20;

/// Which of these texts are somewhere in the writable memory of a process.
pub(super) fn holds(id: u32, texts: &[&[u8]]) -> Result<Vec<bool>> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let memory = File::open(format!("/proc/{id}/mem"))?;
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
    let mut found = vec![false; texts.len()];
    let mut bytes = vec![0; STEP + longest];
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').context("a range")?;
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').context("two addresses")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let mut at = start;
        while at < end {
            // What goes away meanwhile cannot be read, and is not in its memory any more.
            let Ok(count) = memory.read_at(&mut bytes, at) else { break };
            let part = &bytes[..count.min((end - at) as usize)];
            for (text, found) in texts.iter().zip(&mut found) {
                *found |= memchr::memmem::find(part, text).is_some();
            }
            at += STEP as u64;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let mut child = Command::new("sleep").arg("1000").env("KNOWN", "a text of its own").spawn().unwrap();
        let found = holds(child.id(), &[b"KNOWN=a text of its own", b"KNOWN=a text of another"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap(), [true, false]);
    }
}
