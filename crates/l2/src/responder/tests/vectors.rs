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
                self.expect(Some(Output::Foreign { address: ip(address), mac: mac.parse().unwrap() }));
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

/// Says how many cases there were.
fn check(file: &str) -> usize {
    let mut cases = 0;
    let mut case: Option<Case<'_>> = None;
    for (word, rest) in lines(file) {
        if word == "case" {
            case.replace(Case::new(rest)).into_iter().for_each(Case::end);
            cases += 1;
        } else {
            case.as_mut().unwrap().step(word, rest);
        }
    }
    case.unwrap().end();
    cases
}

#[test]
fn every_arp_vector_does_what_it_says() {
    assert_eq!(check(include_str!("../../../vectors/arp.hex")), 31);
}

#[test]
fn every_ndp_vector_does_what_it_says() {
    assert_eq!(check(include_str!("../../../vectors/ndp.hex")), 42);
}
