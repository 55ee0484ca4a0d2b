use super::*;

#[test]
fn numbers_and_times_are_written_for_people() {
    for (number, expected) in [
        (7, "7"),
        (1234, "1234"),
        (36_000, "36_000"),
        (1_234_567, "1_234_567"),
    ] {
        assert_eq!(grouped(number), expected);
    }
    for (number, expected) in [(7.9, 7), (136_500.0, 130_000), (99.0, 99), (100.0, 100)] {
        assert_eq!(rounded(number), expected);
    }
    for (seconds, expected) in [
        (0.2, "1 s"),
        (61.0, "61 s"),
        (900.0, "15 min"),
        (9000.0, "2.5 h"),
        (400_000.0, "4.6 days"),
    ] {
        assert_eq!(about(seconds), expected);
    }
}
