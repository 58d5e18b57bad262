use super::*;

/// One line of a vector file: a word and the rest.
fn lines(file: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap())
}

pub(super) fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

struct Case<'a> {
    name: &'a str,
    now: Instant,
    responder: Responder,
    malformed: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn new(name: &'a str) -> Self {
        let start = Instant::now();
        let mut responder = responder(start);
        responder.own(start, ip(V4));
        responder.own(start, ip(V6));
        run(&mut responder, start, Duration::from_secs(3));
        Self { name, now: start + Duration::from_secs(3), responder, malformed: Vec::new() }
    }

    fn step(&mut self, word: &str, rest: &'a str) {
        match word {
            "in" => {
                self.expect(None);
                self.responder.handle_frame(self.now, &octets(rest));
            }
            "out" => self.expect(Some(Output::Send(Frame::of(&[&octets(rest)])))),
            "foreign" => {
                let (address, mac) = rest.split_once(' ').unwrap();
                let (address, mac) = (ip(address), mac.parse().unwrap());
                self.expect(Some(Output::Foreign { address, mac, station: Station::Stranger }));
            }
            "answered" => {
                let (address, mac) = rest.split_once(' ').unwrap();
                self.expect(Some(Output::Answered { address: ip(address), mac: mac.parse().unwrap() }));
            }
            "echo" => {
                assert_eq!(rest, "answer");
                self.responder.set_echo(self.now, Echo::Answer);
            }
            "join" => self.expect(Some(Output::Join(rest.parse().unwrap()))),
            "cover" => {
                let (address, mac) = rest.split_once(' ').unwrap();
                self.responder.cover(self.now, ip(address), mac.parse().unwrap());
            }
            "ask" => {
                self.expect(None);
                let (address, question) = rest.split_once(' ').unwrap();
                self.responder.ask(self.now, ip(address), self::question(question));
            }
            "malformed" => self.malformed.push(rest),
            "wait" => {
                self.expect(None);
                self.now += Duration::from_secs_f64(rest.parse().unwrap());
                self.responder.handle_timeout(self.now);
            }
            _ => panic!("{}: {word}?", self.name),
        }
    }

    fn expect(&mut self, output: Option<Output>) {
        assert_eq!(self.responder.poll_output(), output, "{}", self.name);
    }

    fn end(mut self) {
        self.expect(None);
        let seen = self.responder.stats().malformed.iter().flat_map(|(malformed, count)| {
            std::iter::repeat_n(malformed.reason(), usize::try_from(*count).unwrap())
        });
        assert_eq!(seen.collect::<Vec<_>>(), self.malformed, "{}", self.name);
    }
}

fn question(text: &str) -> Question {
    match text.split_once(' ') {
        Some(("reach-at", mac)) => Question::ReachAt(mac.parse().unwrap()),
        _ if text == "duplicate" => Question::Duplicate,
        _ => {
            assert_eq!(text, "reach");
            Question::Reach
        }
    }
}

/// The row that a case belongs to: D06 of "D06a an option of length 0".
fn row(case: &str) -> String {
    let id = case.split(' ').next().unwrap();
    id.trim_end_matches(|last: char| last.is_ascii_lowercase()).to_lowercase()
}

fn check(file: &str, wanted: &str) {
    let mut case: Option<Case<'_>> = None;
    let mut cases = 0;
    for (word, rest) in lines(file) {
        if word == "case" {
            case.take().into_iter().for_each(Case::end);
            case = (row(rest) == wanted).then(|| Case::new(rest));
            cases += usize::from(case.is_some());
        } else if let Some(case) = &mut case {
            case.step(word, rest);
        }
    }
    case.into_iter().for_each(Case::end);
    assert!(cases > 0, "no case {wanted}");
}

/// A test for each row of a file, named like it, and one that no row is left out.
macro_rules! rows {
    ($file:ident: $($row:ident)*) => {
        mod $file {
            const FILE: &str = include_str!(concat!("../../../vectors/", stringify!($file), ".hex"));

            $(#[test]
            fn $row() {
                super::check(FILE, stringify!($row));
            })*

            #[test]
            fn every_row_is_a_test() {
                let rows = [$(stringify!($row)),*];
                let cases = super::lines(FILE).filter(|(word, _)| *word == "case");
                let found: std::collections::BTreeSet<_> = cases.map(|(_, case)| super::row(case)).collect();
                assert_eq!(found.into_iter().collect::<Vec<_>>(), rows);
            }
        }
    };
}

rows!(arp: a01 a02 a03 a04 a05 a06 a07 a08 a09 a10 a11 a12 a13 a14 a15 a16 a17);
rows!(ndp: d01 d02 d03 d04 d05 d06 d07 d08 d09 d10 d11 d12 d13);
rows!(questions: q01 q02 q03 q04 q05 q06 q07 q08 q09 q10 q11 q12 q13 q14 q15 q21 q22 q23 q25 q26 q27 q28 q29 q30);
rows!(cover: c01 c02 c03 c04 c05 c06 c07 c11 c12 c13 c14 c15);
rows!(echo: e01 e02 e03 e04 e05 e06 e07 e08 e09 e10 e11 e12 e13 e14 e15 e16 e21 e22 e23 e24 e25 e26 e27 e28 e29);
