//! Where the links of an archive lead.

use std::collections::HashMap;

/// The most links one after the other.
const MOST_HOPS: usize = 40;

/// The file that each link (its name, its target as it is written) leads to in the end, by its name in the archive; none
/// where it leads out of it, around or nowhere. A target is relative to the folder of its link.
pub(super) fn resolved(links: &[(Vec<u8>, Vec<u8>)]) -> Vec<Option<Vec<u8>>> {
    let targets: HashMap<&[u8], Option<Vec<u8>>> = links
        .iter()
        .map(|(name, target)| (name.as_slice(), joined(name, target)))
        .collect();
    let end_of = |name: &[u8]| {
        let mut place = targets.get(name)?.clone()?;
        for _ in 0..MOST_HOPS {
            match targets.get(place.as_slice()) {
                None => return Some(place),
                Some(next) => place = next.clone()?,
            }
        }
        None
    };
    links.iter().map(|(name, _)| end_of(name)).collect()
}

/// A target, written from the archive's top.
fn joined(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.is_empty() || target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_within_the_archive_or_nowhere() {
        let link =
            |name: &str, target: &str| (name.as_bytes().to_vec(), target.as_bytes().to_vec());
        let links = [
            (link("a/1.png", "../b/1.png"), Some("b/1.png")),
            (link("a/2.png", "1.png"), Some("b/1.png")),
            (link("a/3.png", "../../out.png"), None),
            (link("a/4.png", "/etc/passwd"), None),
            (link("a/5.png", "6.png"), None),
            (link("a/6.png", "./5.png"), None),
            (link("7.png", "a/./x//y.png"), Some("a/x/y.png")),
        ];
        let named: Vec<_> = links.iter().map(|(link, _)| link.clone()).collect();
        for (found, ((name, _), expected)) in resolved(&named).into_iter().zip(links) {
            let expected = expected.map(|name| name.as_bytes().to_vec());
            assert_eq!(found, expected, "{}", name.escape_ascii());
        }
    }
}
