use std::ops::Range;

/// A match that OVN would not take: its own words for the mistake, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct MatchError {
    fault: Fault,
    span: Range<usize>,
}

impl MatchError {
    pub(super) fn new(fault: Fault, span: Range<usize>) -> Self {
        Self { fault, span }
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The place in the text, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

/// What can be wrong with a match. The texts are OVN's (`lib/expr.c` and `lib/lex.c`, and `lib/json.c` of Open vSwitch for strings), so that
/// who looks for one finds what others wrote about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Fault {
    // Of the text.
    #[error("Integer constant expected.")]
    NoInteger,
    #[error("Decimal constants must not have leading zeros.")]
    LeadingZero,
    #[error("Decimal constants must be less than 2**64.")]
    LongDecimal,
    #[error("Hex digits expected following 0{0}.")]
    NoHexDigits(char),
    #[error("Invalid syntax in hexadecimal constant.")]
    BadHex,
    #[error("Hexadecimal constant requires more than 1024 bits.")]
    LongHex,
    #[error("Invalid numeric constant.")]
    BadNumber,
    #[error("Value and mask have incompatible formats.")]
    MaskFormat,
    #[error("Input ends inside quoted string.")]
    OpenString,
    #[error("bad escape \\{0}")]
    BadEscape(String),
    #[error("quoted string ends within \\u escape")]
    ShortUnicode,
    #[error("malformed \\u escape")]
    BadUnicode,
    #[error("null bytes not supported in quoted strings")]
    NullUnicode,
    #[error("malformed escaped surrogate pair")]
    HalfSurrogate,
    #[error("second half of escaped surrogate pair is not trailing surrogate")]
    BadSurrogate,
    #[error("`{0}' must be followed by a valid identifier.")]
    NoIdentifier(char),
    #[error("`/*' without matching `*/'.")]
    OpenComment,
    #[error("`/' is only valid as part of `//' or `/*'.")]
    LoneSlash,
    #[error("`{0}' is only valid as part of `{0}{0}'.")]
    Lone(char),
    #[error("`.' is only valid as part of `..' or a number.")]
    LoneDot,
    #[error("Invalid character `{0}' in input.")]
    BadCharacter(char),
    #[error("Invalid byte 0x{0} in input.")]
    BadByte(i8),

    // Of the grammar.
    #[error("Syntax error {} expecting {expecting}.", place(.found.as_deref()))]
    Syntax {
        /// The text that stands there; `None` at the end.
        found: Option<String>,
        expecting: &'static str,
    },
    #[error("Unexpanded template.")]
    Template,
    #[error("Parentheses nested too deeply.")]
    Depth,
    #[error("parsing function name")]
    Function,
    #[error("Missing parentheses around operand of !.")]
    Not,
    #[error("&& and || must be parenthesized when used together.")]
    Mixed,
    #[error(
        "Range expressions must have the form `x < field < y' or `x > field > y', with each `<' optionally replaced by `<=' or `>' by `>=')."
    )]
    Range,
    #[error("Explicit `!= 0' is required for inequality test of multibit field against 0.")]
    Bare,

    // Of a field.
    #[error("Cannot select subfield of string field {0}.")]
    SubfieldOfString(&'static str),
    #[error("Cannot select subfield of nominal field {0}.")]
    SubfieldOfNominal(&'static str),
    #[error("Invalid bit range {low} to {high}.")]
    BitRange { low: u32, high: u32 },
    #[error("Cannot select bits {low} to {high} of {width}-bit field {field}.")]
    Bits {
        low: u32,
        high: u32,
        width: u32,
        field: &'static str,
    },
    #[error("String field {0} is not compatible with integer constant.")]
    NotAnInteger(&'static str),
    #[error("Integer field {0} is not compatible with string constant.")]
    NotAString(&'static str),
    #[error("{constant}-bit constant is not compatible with {width}-bit field {field}.")]
    Width {
        constant: u32,
        width: u32,
        field: &'static str,
    },
    #[error("Only == and != operators may be used with value sets.")]
    OrderOfSet,
    #[error("Only == and != operators may be used with {level} field {field}.")]
    OrderOf {
        level: &'static str,
        field: &'static str,
    },
    #[error("Only == and != operators may be used to compare a field against an empty value set.")]
    OrderOfEmpty,
    #[error(
        "Only == and != operators may be used with masked constants.  Consider using subfields instead (e.g. eth.src[0..15] > 0x1111 in \
         place of eth.src > 00:00:00:00:11:11/00:00:00:00:ff:ff)."
    )]
    OrderOfMasked,
    #[error(
        "Nominal predicate {0} may only be tested positively, e.g. `{0}' or `{0} == 1' but not `!{0}' or `{0} == 0'."
    )]
    NegatedPredicate(&'static str),
    #[error(
        "Nominal field {0} may only be tested for equality (taking enclosing `!' operators into account)."
    )]
    NegatedNominal(&'static str),
}

fn place(found: Option<&str>) -> String {
    found.map_or_else(|| "at end of input".into(), |text| format!("at `{text}'"))
}
