#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;
use crate::config::accounts::Destination;

fn mapped(source: &str, destination: &str, subject: &str) -> String {
    let transform = Transform::new(source, destination).unwrap();
    String::from_utf8(transform.apply(subject.as_bytes(), &mut Dice::random())).unwrap()
}

fn weighted(subject: &str, to: &[(&str, u8, Option<&str>)]) -> Mapping {
    Mapping {
        subject: subject.to_owned(),
        destinations: to
            .iter()
            .map(|(subject, weight, cluster)| Destination {
                subject: (*subject).to_owned(),
                weight: *weight,
                cluster: cluster.map(str::to_owned),
            })
            .collect(),
    }
}

#[test]
fn every_function_does_what_it_says() {
    for (source, destination, subject, wanted) in [
        ("foo", "bar.baz", "foo", "bar.baz"),
        ("foo.*.*", "bar.$2.x.$1", "foo.a.b", "bar.b.x.a"),
        ("foo.*.*", "bar.{{wildcard(2)}}", "foo.a.b", "bar.b"),
        ("foo.*", "bar.{{ Wildcard( 1 ) }}", "foo.a", "bar.a"),
        ("foo.>", "bar.>", "foo.a.b", "bar.a.b"),
        (">", "bar.>", "foo.a", "bar.foo.a"),
        ("bar.>", ">", "bar.foo.a", "foo.a"),
        ("foo.*.>", "x.$1.y.>", "foo.a.b.c", "x.a.y.b.c"),
        ("*", "{{splitfromleft(1,3)}}", "12345", "123.45"),
        ("*", "{{SplitFromRight(1,3)}}", "12345", "12.345"),
        ("*", "{{splitfromleft(1,5)}}", "12345", "12345"),
        ("*", "{{slicefromleft(1,3)}}", "12345678", "123.456.78"),
        ("*", "{{slicefromright(1,3)}}", "12345678", "12.345.678"),
        ("*", "{{slicefromright(1,4)}}", "12345678", "1234.5678"),
        ("*", "{{slicefromleft(1,0)}}", "123", "123"),
        ("*", "{{split(1,-)}}", "a-b-c", "a.b.c"),
        ("*", "{{split(1,-)}}", "-a--b-", "a.b"),
        ("*", "{{split(1,-)}}", "--", "--"),
        ("*", "{{left(1,2)}}.{{right(1,2)}}", "12345", "12.45"),
        ("*", "{{left(1,9)}}", "12345", "12345"),
        ("*.*", "p.{{partition(10,1,2)}}", "foo.baz", "p.8"),
        ("*.*", "p.{{partition(10,1,2)}}", "foo.bar", "p.0"),
        ("*.*", "p.{{partition(10,1,2)}}", "baz.foo", "p.8"),
        ("*", "p.{{partition(0,1)}}", "foo", "p.0"),
        ("foo", "p.{{random(1)}}", "foo", "p.0"),
        ("foo.*", "$x.{{wildcard(1)}}", "foo.a", "$x.a"),
    ] {
        assert_eq!(
            mapped(source, destination, subject),
            wanted,
            "{source} to {destination}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (source, destination, says) in [
        ("foo..a", "bar", "is not a subject"),
        ("foo", "bar..a", "not a subject"),
        ("foo", "ba r", "not a subject"),
        ("foo.*", "bar.*", "not a subject"),
        ("foo.>", "bar", "\">\" on both"),
        ("foo", "bar.>", "\">\" on both"),
        ("foo.*", "bar.$2", "not there"),
        ("foo.*", "bar.$0", "not there"),
        ("foo", "bar.$1", "not there"),
        ("foo.*", "bar.{{wildcard(1,2)}}", "number of arguments"),
        ("foo.*", "bar.{{wildcard(x)}}", "needs numbers"),
        ("foo.*", "bar.{{nonsense(1)}}", "unknown function"),
        ("foo.*", "bar.{{wildcard}}", "no function"),
        ("foo.*", "bar.{{partition(9999999999,1)}}", "needs numbers"),
        ("foo.*", "bar.{{split(1,)}}", "cannot split"),
    ] {
        let error = Transform::new(source, destination).unwrap_err().to_string();
        assert!(error.contains(says), "{source} to {destination}: {error}");
    }
    for (mapping, says) in [
        (
            weighted("a", &[("b", 60, None), ("c", 60, None)]),
            "100 percent",
        ),
        (weighted("a", &[("b", 200, None)]), "100 percent"),
        (weighted("a", &[("b", 10, None), ("b", 10, None)]), "twice"),
        (weighted("a..b", &[("b", 10, None)]), "is not a subject"),
    ] {
        let error = Mappings::compile(&[mapping], None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn weights_are_shares_and_the_rest_stays() {
    let mut dice = Dice::random();
    let mut share = |to: &[(&str, u8, Option<&str>)], cluster| {
        let mappings = Mappings::compile(&[weighted("a.*", to)], cluster).unwrap();
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            let place = match mappings.map(b"a.1", &mut dice) {
                Mapped::To(to) if to == b"b.1" => 0,
                Mapped::To(to) if to == b"c" => 1,
                Mapped::To(to) if to == b"a.1" => 2,
                Mapped::Lost => 3,
                other => panic!("{other:?}"),
            };
            counts[place] += 1;
        }
        counts.map(|count| (f64::from(count) / 1000.0).round())
    };
    assert_eq!(
        share(&[("b.$1", 20, None), ("c", 50, None)], None),
        [2.0, 5.0, 3.0, 0.0]
    );
    assert_eq!(share(&[("b.$1", 100, None)], None), [10.0, 0.0, 0.0, 0.0]);
    assert_eq!(
        share(&[("b.$1", 100, None), ("c", 100, Some("x"))], Some("x")),
        [0.0, 10.0, 0.0, 0.0]
    );
    assert_eq!(
        share(&[("b.$1", 100, None), ("c", 100, Some("x"))], Some("y")),
        [10.0, 0.0, 0.0, 0.0]
    );
    // Only for another cluster: nothing changes here.
    assert_eq!(share(&[("c", 100, Some("x"))], None), [0.0, 0.0, 10.0, 0.0]);
    let lossy = Mappings::compile(&[weighted("a", &[("a", 40, None)])], None).unwrap();
    let lost = (0..10_000)
        .filter(|_| lossy.map(b"a", &mut dice) == Mapped::Lost)
        .count();
    assert!((5500..6500).contains(&lost), "{lost}");
    assert_eq!(lossy.map(b"b", &mut dice), Mapped::Same);
}

#[test]
fn a_pairing_must_keep_every_wildcard() {
    for (remote, local) in [
        ("a.*.*", "b.$1"),
        ("a.*.*", "b.$1.$1"),
        ("a.*", "b.{{left(1,2)}}"),
        ("a.*", "b"),
        ("a.>", "b"),
        ("a", "b.*"),
        ("a..", "b"),
        ("a.*", "b.$2"),
    ] {
        assert!(Pairing::new(remote, local).is_err(), "{remote} to {local}");
    }
    let pairing = Pairing::new("a.*.*.>", "b.$2.c.$1.>").unwrap();
    assert_eq!(&*pairing.local, b"b.*.c.*.>");
    assert_eq!(pairing.to_local(b"a.1.2.3.4").unwrap(), b"b.2.c.1.3.4");
    assert_eq!(pairing.to_remote(b"b.2.c.*.>").unwrap(), b"a.*.2.>");
    assert!(
        Pairing::new("a.*", "a.*")
            .unwrap()
            .to_local(b"a.b")
            .is_none()
    );
}

proptest! {
    /// Whatever goes over comes back, and is where the pattern says.
    #[test]
    fn pairings_are_reversible(
        shape in proptest::collection::vec(prop_oneof![Just("*"), Just("a"), Just("bc")], 1..6),
        order in any::<prop::sample::Index>(),
        open in any::<bool>(),
        values in proptest::collection::vec("[a-z]{1,3}", 8),
    ) {
        let mut remote: Vec<String> = shape.iter().map(|token| (*token).to_owned()).collect();
        let stars = shape.iter().filter(|token| **token == "*").count();
        let mut local: Vec<String> = (1..=stars).map(|number| format!("${number}")).collect();
        if stars > 0 {
            local.rotate_left(order.index(stars));
        }
        local.insert(0, "local".to_owned());
        if open {
            remote.push(">".to_owned());
            local.push(">".to_owned());
        }
        let pairing = Pairing::new(&remote.join("."), &local.join(".")).unwrap();
        let subject: Vec<String> = remote
            .iter()
            .zip(&values)
            .map(|(token, value)| if token == "*" || token == ">" { value.clone() } else { token.clone() })
            .collect();
        let subject = subject.join(".").into_bytes();
        let over = pairing.to_local(&subject).unwrap();
        prop_assert!(subject::matches(&pairing.local, &over));
        prop_assert_eq!(pairing.to_remote(&over).unwrap(), subject);
    }

    /// No destination and no subject makes a panic.
    #[test]
    fn anything_is_parsed_or_refused(source in "[a*>.$]{0,8}", destination in "[a*>.${}()0-9,lLeftwc ]{0,24}", subject in "[ab.]{0,12}") {
        if let Ok(transform) = Transform::new(&source, &destination) {
            transform.apply(subject.as_bytes(), &mut Dice::random());
        }
        let _ = Pairing::new(&source, &destination);
    }
}
