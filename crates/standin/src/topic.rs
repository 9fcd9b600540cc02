//! What is talked about: the questions the load driver asks and the sentences answers are made of.
//!
//! Written for this crate. Names, orders and patients are invented; addresses stand under example.com and
//! numbers come from ranges kept for examples, so that redaction has something to find and nobody is meant.
//! `{n}` is a case number and `{contact}` an address; the driver fills both in.

/// One subject of conversation.
pub(crate) struct Topic {
    /// What session ids begin with.
    pub(crate) name: &'static str,
    /// Lower-case words that mark a question as belonging here.
    pub(crate) keywords: &'static [&'static str],
    /// The operator's instruction at the head of a conversation.
    pub(crate) system: &'static str,
    /// What users ask, in an order that reads as a conversation from any start.
    pub(crate) questions: [&'static str; 8],
    /// Sentences of about ten words; four make a usual answer.
    pub(crate) answers: [&'static str; 8],
}

/// All topics; the last one is general and answers whatever no other claims.
pub(crate) const TOPICS: [Topic; 6] = [SUPPORT, FINANCE, HEALTH, TRAVEL, ENGINEERING, GENERAL];

/// Only this much of a question is searched for keywords.
const KEYWORDS_SEARCHED_BYTES: usize = 512;

/// The topic that a question belongs to: the first one with a keyword in it.
pub(crate) fn of(question: &str) -> &'static Topic {
    let start = question.as_bytes().get(..KEYWORDS_SEARCHED_BYTES).unwrap_or(question.as_bytes());
    let lower = String::from_utf8_lossy(start).to_ascii_lowercase();
    let claims = |topic: &&Topic| topic.keywords.iter().any(|keyword| lower.contains(keyword));
    const ALL: &[Topic] = &TOPICS;
    ALL.iter().find(claims).unwrap_or(&ALL[ALL.len() - 1])
}

const SUPPORT: Topic = Topic {
    name: "support",
    keywords: &["order", "parcel", "refund", "warranty", "invoice"],
    system: "You answer for a shop that sells household machines. Be brief, be kind, promise nothing that the policy does not say.",
    questions: [
        "Order {n} was due on Tuesday and nothing has come. Where is it?",
        "The parcel for order {n} arrived wet and the box was open. What do I do?",
        "Can I get a refund for order {n} although the film on the lid is gone?",
        "The warranty card says two years. Does that cover the pump of my coffee machine?",
        "Please send the invoice for order {n} again, to {contact}.",
        "I was promised a refund of 49.90 € ten days ago and the account is still empty.",
        "Can order {n} go to my neighbour when I am not in?",
        "This is the third order in a row with a part missing. I want to complain.",
    ],
    answers: [
        "Thank you for writing, and I am sorry about the wait.",
        "The carrier scanned the parcel last night and will bring it tomorrow.",
        "You can send the machine back within thirty days, opened or not.",
        "Please take two photographs of the damage before you throw the box away.",
        "The refund leaves us today and reaches your bank in three working days.",
        "Wear of seals is not covered, but the pump itself is.",
        "I have put a note on the order so that my colleagues can see it.",
        "If it has not come by Friday, we send a second one at no charge.",
    ],
};

const FINANCE: Topic = Topic {
    name: "finance",
    keywords: &["loan", "card", "transfer", "interest", "credit", "überweisung"],
    system: "You explain products of a savings bank. You do not give personal investment advice and you say when a person must decide.",
    questions: [
        "My loan application {n} was declined. Which of my figures decided that?",
        "What would the interest be if I took the loan over five years instead of eight?",
        "A transfer of 1,250.00 to a builder bounced. Why, and is the money back?",
        "I lost my card, the number is 4111 1111 1111 1111. Please block it.",
        "Meine Überweisung vom Montag fehlt noch. Dauert das bei Beträgen über 10.000 € länger?",
        "How is the credit limit on a business card worked out?",
        "Can I repay the loan early, and what does that cost me?",
        "Write to {contact} when a person has looked at case {n}, please.",
    ],
    answers: [
        "The decision rests on income, existing debts and how long the post is held.",
        "A person will look at the case again when you ask for it in writing.",
        "Over five years the rate is lower and each instalment is higher.",
        "The transfer came back because the name did not match the account.",
        "Repaying early costs at most one percent of what is still owed.",
        "Please never send a full card number in a chat; the line in the app blocks it.",
        "The limit follows the turnover of the last six months, not the balance.",
        "Amounts above the daily limit are released by a second pair of eyes.",
    ],
};

const HEALTH: Topic = Topic {
    name: "health",
    keywords: &["dose", "tablet", "appointment", "blood", "symptom", "rash"],
    system: "You help callers of a clinic to find the right desk. You do not diagnose. In an emergency you name the emergency number first.",
    questions: [
        "I took my evening tablet twice by mistake. Should I skip the next dose?",
        "My blood pressure was 150 to 95 this morning. Is that a reason to come in?",
        "Can I move appointment {n} to a day after the ninth?",
        "The rash came back after I stopped the cream. Which desk do I ask for?",
        "Is it safe to have the blood sample taken after breakfast?",
        "My daughter is four and has had a symptom like this since Sunday: no fever, but no appetite.",
        "Please confirm the appointment {n} to {contact}.",
        "How long before the scan must I leave out the tablet for sugar?",
    ],
    answers: [
        "If breathing is hard or the chest hurts, call the emergency number now.",
        "Do not take another one today and ring the pharmacist at the clinic.",
        "One reading by itself says little; measure again after ten quiet minutes.",
        "The skin desk is open from eight and needs no letter from your doctor.",
        "For this sample you should have eaten nothing since midnight.",
        "I have moved it and you will find the new time in your messages.",
        "A child who drinks and plays can usually wait for the morning hours.",
        "Only your doctor can change the amount, and the desk will ring you back.",
    ],
};

const TRAVEL: Topic = Topic {
    name: "travel",
    keywords: &["train", "flight", "ticket", "hotel", "luggage"],
    system: "You look after travellers of a railway. Quote the rule before you quote the price.",
    questions: [
        "My train was 95 minutes late. What do I get back for ticket {n}?",
        "Does ticket {n} let me break the journey for a night?",
        "The hotel says that booking {n} does not exist. Who made the mistake?",
        "Can I take a bicycle on the night train to the coast?",
        "My luggage stayed in the rack of the 7:12 train. Where is it kept?",
        "行程 {n} を一日遅らせることはできますか。 It is a return ticket for two.",
        "The flight that connects with the train was cancelled. Is the ticket still good tomorrow?",
        "Send the new ticket to {contact}, the old one names the wrong day.",
    ],
    answers: [
        "After sixty minutes a quarter of the fare is due, after two hours half.",
        "You may break the journey once when the ticket covers more than a hundred kilometres.",
        "Found things stay at the last station for a week and then go to the depot.",
        "Bicycles travel in the first coach and need a place of their own.",
        "The booking was made for the same day one month later.",
        "I have opened the train for this ticket, so any one tomorrow will do.",
        "The claim takes a photograph of the ticket and about two minutes.",
        "The night train leaves from platform nine, a little before eleven.",
    ],
};

const ENGINEERING: Topic = Topic {
    name: "engineering",
    keywords: &["function", "deploy", "query", "compile", "log line", "test fails"],
    system: "You review changes for a small platform team. Show the smallest change that works and say what you did not check.",
    questions: [
        "This function returns None for an empty list. Is that a bug?\n\n```python\ndef top(xs):\n    return max(xs) if xs else None\n```",
        "The deploy of build {n} hangs at the readiness probe. What do I look at first?",
        "Why does the query use the wrong index once the table has ten million rows?",
        "The test fails only when it runs after another one. How do I find which?",
        "What does this log line mean: `connection reset by peer, attempt 3, job {n}`?",
        "Does it compile faster when the generic function is split in two?",
        "How do I deploy a change of schema without locking the table?",
        "Rewrite the query so that it reads each partition once.",
    ],
    answers: [
        "Look at the probe's own timeout before you look at the service.",
        "The statistics are stale, so the planner believes that the table is small.",
        "Run the pair alone, halve the list of the others, and repeat.",
        "An empty list has no maximum, so returning nothing is a choice, not a bug.",
        "Add the column first, fill it in batches, and set the constraint last.",
        "The other side closed the socket while we still had bytes to send.",
        "Keep the generic shell thin and move the body into a plain function.",
        "I did not run this against your data, only against the schema above.",
    ],
};

const GENERAL: Topic = Topic {
    name: "general",
    keywords: &[],
    system: "You are a helpful assistant. Answer in a few plain sentences.",
    questions: [
        "Explain what a hash is to somebody who bakes bread.",
        "Write two lines that invite colleagues to a walk at noon.",
        "What is the difference between a rule and a habit?",
        "Give me three names for a meeting room with a view of the river.",
        "Make this sentence shorter: it is the case that we are not able to come.",
        "How many days lie between the third of March and the last of May?",
        "Name one good reason to keep a diary of decisions.",
        "Which of two equal offers should I take, {n} or the other one?",
    ],
    answers: [
        "The short answer is yes, with one condition that is easy to miss.",
        "Think of it as a seal: it says nothing about the letter inside.",
        "A rule is written down, a habit is what happens when nobody looks.",
        "Two equal offers differ in what happens when something goes wrong.",
        "We cannot come would say the same in three words.",
        "Counting both ends there are ninety days, and eighty-nine between them.",
        "What was decided is remembered; why it was decided is not.",
        "Come as you are, bring a coat, and be back by one.",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_find_their_own_topic() {
        for topic in &TOPICS[..5] {
            let own = topic.questions.iter().filter(|question| of(question).name == topic.name).count();
            assert!(own >= 6, "{}: {own} of 8", topic.name);
        }
        assert_eq!(of("anything else").name, "general");
    }

    #[test]
    fn a_cut_inside_a_character_is_no_trouble() {
        let long = "漢".repeat(KEYWORDS_SEARCHED_BYTES);
        assert_eq!(of(&long).name, "general");
    }

    #[test]
    fn a_usual_answer_has_about_forty_words() {
        for topic in &TOPICS {
            let words: usize = topic.answers.iter().map(|text| text.split(' ').count()).sum();
            assert!((72..=120).contains(&words), "{}: {words} words in eight sentences", topic.name);
            assert!(topic.answers.iter().all(|text| text.is_ascii()));
        }
    }
}
