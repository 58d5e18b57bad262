/// A rule and how it is broken.
#[derive(Debug)]
pub struct Mutant {
    /// What is not so any more.
    pub rule: &'static str,
    /// Where it stands, below `crates/liveness/src`.
    pub file: &'static str,
    /// What is there once.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

const fn breach(rule: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant { rule, file, from, to }
}

const NODE: &str = "node.rs";
const CLAIMS: &str = "node/claims.rs";
const ELECTION: &str = "node/election.rs";
const HEARING: &str = "node/hearing.rs";
const ISOLATION: &str = "node/isolation.rs";
const SENDING: &str = "node/sending.rs";
const STANDING: &str = "node/standing.rs";

/// All rules of the election that a test is to miss.
pub const RULES: &[Mutant] = &[
    breach(
        "heartbeats count only if they echo the receiver's life",
        HEARING,
        "if message.echo != Some(self.incarnation) {",
        "if false {",
    ),
    breach(
        "no heartbeat counts twice",
        "peer.rs",
        "Place::Known => Met::Replayed,",
        "Place::Known => Met::Known,",
    ),
    breach(
        "a life that has ended does not come back",
        "peer.rs",
        "if self.retired.contains(&incarnation) {",
        "if false {",
    ),
    breach(
        "a watcher that still hears a speaker vetoes",
        STANDING,
        "if self.others_say(now, id, Report::Heard) {",
        "if false {",
    ),
    breach(
        "a node is dead only if its kernel does not answer",
        STANDING,
        "Standing::Alive | Standing::Silent if peer.reach.is_unanswered(PATIENCE, now) => Standing::Dead,",
        "Standing::Alive | Standing::Silent => Standing::Dead,",
    ),
    breach(
        "who was held up holds its verdicts",
        STANDING,
        "standing if self.is_held(now) || now",
        "standing if now",
    ),
    breach("who was frozen listens first", STANDING, "if late >= self.pace.detection() {", "if false {"),
    breach(
        "who starts listens first",
        NODE,
        "phase: Phase::Listening { until: now + pace.detection(), at_most: now + LISTEN_AT_MOST },",
        "phase: Phase::Active,",
    ),
    breach(
        "who hears nobody and reaches nobody is isolated",
        ISOLATION,
        "match (self.isolation.since, self.is_cut_off(now)) {",
        "match (self.isolation.since, self.is_cut_off(now) && false) {",
    ),
    breach("who is isolated for long falls silent", ISOLATION, "self.isolation.muted = true;", ""),
    breach(
        "what reaches a witness is not isolated",
        ISOLATION,
        "!answered && self.isolation.usable(now)",
        "self.isolation.usable(now)",
    ),
    breach(
        "a new claim is greater than all that were heard of",
        ELECTION,
        "highest.epoch.saturating_add(1)",
        "highest.epoch",
    ),
    breach(
        "a new claim is greater than what is on record",
        ELECTION,
        "heard.max(ballot.and_then(|ballot| ballot.recorded))",
        "heard",
    ),
    breach(
        "the lesser claim yields",
        ELECTION,
        "(Some(mine), Some((claim, Hold::Firm | Hold::Covered))) if claim <= mine.claim => {",
        "(Some(mine), Some((_, Hold::Firm | Hold::Covered))) => {",
    ),
    breach(
        "only a newer placement displaces a claim",
        ELECTION,
        "&& ballot.generation > claim.generation;",
        ";",
    ),
    breach(
        "a newer placement displaces a claim",
        ELECTION,
        "let placed = ballot.displaces",
        "let placed = false && ballot.displaces",
    ),
    breach(
        "a placement that only says where an address had gone displaces nobody",
        ELECTION,
        "let placed = ballot.displaces",
        "let placed = true",
    ),
    breach(
        "the next in rank gives the first a moment",
        ELECTION,
        "const STEP: Duration = Duration::from_millis(20);",
        "const STEP: Duration = Duration::ZERO;",
    ),
    breach(
        "the next in rank does not wait for the first for long",
        ELECTION,
        "const STEP: Duration = Duration::from_millis(20);",
        "const STEP: Duration = Duration::from_secs(20);",
    ),
    breach(
        "an address is asked for when it is claimed, and an answer cancels the claim",
        ELECTION,
        "if entry.mine.is_none() || asked || ranks_before {",
        "if false {",
    ),
    breach(
        "an owner whose speaker is away is covered",
        ELECTION,
        "_ if peer.is_restarting() => Hold::Covered,",
        "_ if peer.is_restarting() => Hold::Void(Cause::SpeakerDead(name)),",
    ),
    breach(
        "who covers answers with the owner's MAC",
        ELECTION,
        "map_or(Answer::Silent, Answer::Cover)",
        "map_or(Answer::Silent, |_| Answer::Owned)",
    ),
    breach("cover ends", STANDING, "peer.lapsed = true;", ""),
    breach(
        "who leaves hands over, and the new owner answers first",
        ELECTION,
        "None if now < until => Course::Part(until),",
        "None if now < until => Course::Yield,",
    ),
    breach("who leaves is followed", ELECTION, "_ if !candidates.contains(&claimant) => Hold::Parting,", ""),
    breach("without a carrier nothing is answered", ELECTION, "&& self.link.carrier == Carrier::Up &&", "&&"),
    breach(
        "claims are relayed between those that do not hear each other",
        HEARING,
        "if changed || (heard && late) {",
        "if false {",
    ),
    breach(
        "claims that were lost are asked for",
        HEARING,
        "} else if !told && late(peer.wished) {",
        "} else if false {",
    ),
    breach(
        "where the port is closed everywhere, rank decides after a question",
        ELECTION,
        "any: alone && ranked.iter().any(|id| lives(&id)),",
        "any: false,",
    ),
    breach(
        "among many, those that watch are those that live",
        STANDING,
        "all || peer.standing.is_live());",
        "all || peer.standing != Standing::Gone || true);",
    ),
    breach(
        "among many, all that may claim an address are told of a claim",
        SENDING,
        "audience.extend(entry.ballot.iter().flat_map(|ballot| ballot.concerned(self.id)));",
        "",
    ),
    breach("among many, a verdict is told to all", STANDING, "self.mail.spread(id);", ""),
    breach(
        "a lesser claim of another is answered with the greater one",
        CLAIMS,
        "self.mail.tell(claim.node, address);\n            if is_sparse",
        "if is_sparse",
    ),
    breach(
        "neighbours hear the owner last",
        CLAIMS,
        "self.dirty.insert(address);\n            if entry.mine.is_some() {",
        "self.dirty.insert(address);\n            if false {",
    ),
    breach(
        "who hears nobody claims nothing before a witness has answered",
        ELECTION,
        "if !self.may_claim(now) {",
        "if false {",
    ),
    breach(
        "a claim takes a newer placement in",
        ELECTION,
        "return Course::Claim(mine.cause.clone());",
        "return Course::Own;",
    ),
    breach(
        "who does not forward leaves it to those that do",
        ELECTION,
        "unless_nobody(unless_nobody(alive.collect(), connected), forwards)",
        "unless_nobody(alive.collect(), connected)",
    ),
    breach(
        "who is not in the network leaves it to those that are",
        ELECTION,
        "unless_nobody(unless_nobody(alive.collect(), connected), forwards)",
        "unless_nobody(alive.collect(), forwards)",
    ),
    breach(
        "what nobody has is asked of nobody",
        ELECTION,
        "if those.is_empty() { all } else { those }",
        "those",
    ),
    breach(
        "silence is measured by what the sender said",
        HEARING,
        "let detection = (interval * u32::from(multiplier)).min(LONGEST_DETECTION);",
        "let detection = self.pace.detection();",
    ),
];
