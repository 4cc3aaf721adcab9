//! Names inside a package.

/// The parts of a name that stays inside the root.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn parts(name: &str) -> Result<Vec<&str>, String> {
    let refuse = |why: &str| Err(format!("the file name {:?} {why}", shorten(name)));
    if name.len() > 4096 {
        return refuse("is longer than 4096 bytes");
    }
    if name.contains('\0') || name.contains('\\') {
        return refuse("holds a character that is no part of a name");
    }
    if name.starts_with('/') {
        return refuse("is absolute");
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return refuse("leaves the root of the app"),
            part if part.len() > 255 => return refuse("has a part longer than 255 bytes"),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return refuse("is empty");
    }
    Ok(parts)
}

/// Checks that a link at `parts` with this target points inside the root.
///
/// `..` is taken only at the front of a target: behind another part, that part could itself be a
/// link, and the sum of two harmless links could lead out.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check_link(parts: &[&str], target: &str) -> Result<(), String> {
    let refuse = |why: &str| {
        Err(format!(
            "the link {:?} to {:?} {why}",
            parts.join("/"),
            shorten(target)
        ))
    };
    if target.is_empty() || target.len() > 4096 || target.contains('\0') {
        return refuse("has no usable target");
    }
    if target.starts_with('/') {
        return refuse("is absolute");
    }
    let depth = parts.len() - 1;
    let (mut up, mut descended) = (0, false);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if descended => return refuse("goes down and up again"),
            ".." => up += 1,
            _ => descended = true,
        }
    }
    if up > depth {
        return refuse("leaves the root of the app");
    }
    Ok(())
}

/// For messages: an outsider's text, cut to a readable length.
fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(parts("a/./b//c"), Ok(vec!["a", "b", "c"]));
        assert_eq!(parts("dir/"), Ok(vec!["dir"]));
        for bad in [
            "",
            ".",
            "/",
            "../a",
            "a/../../b",
            "a/..",
            "/etc/passwd",
            "a\\..\\b",
            "a\0b",
        ] {
            assert!(parts(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(parts(&"x".repeat(256)).is_err());
    }

    #[test]
    fn links_stay_inside() {
        assert!(check_link(&["a", "b"], "../c").is_ok());
        assert!(check_link(&["a"], "b/c").is_ok());
        assert!(check_link(&["a", "b", "c"], "../../d/e").is_ok());
        for (at, target) in [
            (vec!["a"], "../b"),
            (vec!["a"], "/etc/passwd"),
            (vec!["a", "b"], "../../c"),
            (vec!["a", "b"], "c/../../../d"),
            (vec!["a", "b"], "c/.."),
            (vec!["a"], ""),
        ] {
            assert!(
                check_link(&at, target).is_err(),
                "{at:?} -> {target:?} was accepted"
            );
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_never_climbs(name in "[a./\\\\]{0,24}") {
            if let Ok(parts) = parts(&name) {
                prop_assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..")));
            }
        }

        #[test]
        fn an_accepted_link_never_climbs(depth in 1..4_usize, target in "[a./]{0,24}") {
            let at = vec!["d"; depth];
            if check_link(&at, &target).is_ok() {
                let mut level = depth as i64 - 1;
                for part in target.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => level -= 1,
                        _ => level += 1,
                    }
                    prop_assert!(level >= 0);
                }
            }
        }
    }
}
