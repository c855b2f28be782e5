//! What can be done to the frames that a server sends, and what must be said to it.

/// Something that goes wrong once, or for one connection from some moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: the run must pass.
    None,
    /// A message does not arrive.
    Drop,
    /// From some moment on no message arrives at one connection.
    Silence,
    /// A message arrives twice in a row.
    Repeat,
    /// Two messages of a conversation arrive in the wrong order.
    Reorder,
    /// A message arrives after those that followed it.
    DelayOne,
    /// Everything arrives late.
    DelayAll,
    /// A message arrives with another text.
    Alter,
    /// A message arrives at one member with another identity.
    Substitute,
    /// A message takes the place of a later one, so that it is there twice.
    Double,
    /// A message arrives under the name of a conversation that nobody is in.
    Misdirect,
    /// A reply names a place that is not the message's.
    WrongReply,
    /// A reply names a place that no log has.
    ZeroReply,
    /// A reply is about an earlier message of the same conversation.
    OtherReply,
    /// A reply does not arrive.
    SwallowReply,
    /// A join's reply names another history.
    OtherEpoch,
    /// A resumed join leaves out its last event.
    CutRecovery,
    /// A resumed join leaves out an event in the middle.
    HoleInRecovery,
    /// A resumed join brings a message with another text.
    AlterRecovery,
    /// A page of history comes without messages, and says that there are more.
    EmptyPage,
    /// A page of history leaves out a message.
    HoleInPage,
    /// A page of history has two messages in the wrong order.
    ReorderPage,
    /// A page of history has a message with another text.
    AlterPage,
    /// A page of history has a message of another conversation.
    MisdirectPage,
    /// A message that was acknowledged and delivered is not in the log.
    Forget,
    /// The end of somebody's typing does not arrive.
    StuckTyping,
}

/// What a run must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// No breach.
    Nothing,
    /// No breach, but the gate on latency is not met.
    Late,
    /// No breach, but requests are left without an answer.
    Unanswered,
    /// A breach of one of these kinds.
    Breach(&'static [&'static str]),
}

impl Fault {
    /// All, the honest run first.
    pub(super) const ALL: [Self; 26] = [
        Self::None,
        Self::Drop,
        Self::Silence,
        Self::Repeat,
        Self::Reorder,
        Self::DelayOne,
        Self::DelayAll,
        Self::Alter,
        Self::Substitute,
        Self::Double,
        Self::Misdirect,
        Self::WrongReply,
        Self::ZeroReply,
        Self::OtherReply,
        Self::SwallowReply,
        Self::OtherEpoch,
        Self::CutRecovery,
        Self::HoleInRecovery,
        Self::AlterRecovery,
        Self::EmptyPage,
        Self::HoleInPage,
        Self::ReorderPage,
        Self::AlterPage,
        Self::MisdirectPage,
        Self::Forget,
        Self::StuckTyping,
    ];

    /// What is done, in a few words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing is done",
            Self::Drop => "a message is dropped",
            Self::Silence => "one connection gets no more messages",
            Self::Repeat => "a message is repeated",
            Self::Reorder => "two messages are reordered",
            Self::DelayOne => "a message is delayed past others",
            Self::DelayAll => "everything is delayed by 400 ms",
            Self::Alter => "a text is altered",
            Self::Substitute => "a message is replaced for one member",
            Self::Double => "a message takes a second place",
            Self::Misdirect => "a message is misdirected",
            Self::WrongReply => "a reply names another place",
            Self::ZeroReply => "a reply names seq 0",
            Self::OtherReply => "a reply is about another message",
            Self::SwallowReply => "a reply is swallowed",
            Self::OtherEpoch => "a join names another history",
            Self::CutRecovery => "a recovery is cut short",
            Self::HoleInRecovery => "a recovery has a hole",
            Self::AlterRecovery => "a recovered text is altered",
            Self::EmptyPage => "a page of history is emptied",
            Self::HoleInPage => "a page of history has a hole",
            Self::ReorderPage => "a page of history is reordered",
            Self::AlterPage => "a text in a page of history is altered",
            Self::MisdirectPage => "a page of history has a foreign message",
            Self::Forget => "a stored message is forgotten",
            Self::StuckTyping => "the end of typing is dropped",
        }
    }

    /// What the run with it must come to.
    pub(super) const fn expected(self) -> Expected {
        match self {
            Self::None => Expected::Nothing,
            Self::DelayAll => Expected::Late,
            Self::SwallowReply => Expected::Unanswered,
            Self::Drop | Self::Reorder | Self::DelayOne | Self::HoleInRecovery => Expected::Breach(&["gap"]),
            // Whether anything was acknowledged after the last message seen is all that can be told.
            Self::Silence => Expected::Breach(&["missing", "unrecovered"]),
            Self::Repeat => Expected::Breach(&["repeat"]),
            Self::Alter | Self::AlterRecovery | Self::AlterPage => Expected::Breach(&["altered"]),
            Self::Substitute => Expected::Breach(&["order", "wrong_ack"]),
            Self::Double => Expected::Breach(&["doubled"]),
            Self::Misdirect | Self::MisdirectPage => Expected::Breach(&["foreign"]),
            Self::WrongReply | Self::ZeroReply | Self::OtherReply => Expected::Breach(&["wrong_ack"]),
            Self::OtherEpoch | Self::CutRecovery => Expected::Breach(&["unrecovered"]),
            Self::EmptyPage | Self::HoleInPage | Self::ReorderPage | Self::Forget => Expected::Breach(&["unrecovered"]),
            Self::StuckTyping => Expected::Breach(&["typing_stuck"]),
        }
    }
}
