use super::Warnings;

#[test]
fn every_sets_warnings_are_told_once() {
    let mut warnings = Warnings::default();
    let measured: [(&str, &[&str]); 3] = [
        ("sample", &["few", "singular", "few"]),
        ("sample-more", &["few"]),
        ("noise", &["few", "singular"]),
    ];
    for (set, texts) in measured {
        warnings.add(set, texts.iter().copied().map(str::to_owned).collect());
    }
    assert_eq!(warnings.texts(3), ["few", "`sample`, `noise`: singular"]);
}
