//! What becomes of a decision whose names are not answered.

use super::*;
use crate::request::VerdictWord;

#[tokio::test]
async fn a_refusal_without_an_answer_for_a_name_is_a_failure_to_decide_and_says_so() {
    // It answers for that name, and for no other name ever.
    let resolver = Resolver::answering_only("db.test");
    let config = configured("[limits]\nlookup-timeout = \"100ms\"");
    let judge = judge_asking(resolver, config, house(""), policies().await);
    let silent = "silent.test: the resolver did not answer in time";
    let told = format!("ask the DBA ({silent})");
    #[rustfmt::skip]
    let table = [
        // target           verdict               code                      the user reads
        ("silent.test:7020", VerdictWord::Failed, Some("name-unanswered"), told.as_str()),
        ("silent.test:7021", VerdictWord::Failed, Some("name-unanswered"), silent),
        // What does not rest on the name is a denial, and so is what rests on an answer.
        ("silent.test:23", VerdictWord::Deny,   Some("closed"),          "no telnet"),
        ("db.test:7020",     VerdictWord::Deny,   Some("outside"),            "ask the DBA"),
        // The policy needs no name, and the gateway does.
        ("silent.test:1",  VerdictWord::Allow,  None,                    silent),
    ];
    for (target, verdict, code, sentence) in table {
        let judgement = judge.judge(&judge.current(), connect(target)).await;
        let decided = judgement.line();
        assert_eq!((decided.verdict, decided.code.as_deref()), (verdict, code), "{target}");
        let refusal = judgement.refusal().expect("a refusal");
        assert_eq!(refusal.sentence(), sentence, "{target}");
        // What is open is closed by a denial only.
        assert_eq!(refusal.is_doubt(), verdict == VerdictWord::Failed, "{target}");
    }
}
