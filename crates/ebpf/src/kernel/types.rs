//! Where the fields of a structure are, as the kernel tells it in BTF
//! (Documentation/bpf/btf.rst of Linux).
//!
//! libbpf finds fields by itself, but reads the types of modules through calls that need
//! CAP_SYS_ADMIN. The files of `/sys/kernel/btf` anybody may read.

/// Where a field lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    /// Bits from the structure's beginning.
    pub(crate) bit: u32,
}

impl Field {
    /// Its first byte.
    pub(crate) fn byte(self) -> u32 {
        self.bit / 8
    }

    /// The mask of a field of one bit in that byte.
    pub(crate) fn mask(self) -> u32 {
        match cfg!(target_endian = "little") {
            true => 1 << (self.bit % 8),
            false => 0x80 >> (self.bit % 8),
        }
    }
}

/// Finds the fields of a structure in the types of a module, which go on where those of the
/// kernel end, or in those of the kernel with an empty `base`. `None` where there is no such
/// structure; within, `None` for a field that it does not have.
pub(crate) fn fields<const N: usize>(
    base: &[u8],
    types: &[u8],
    structure: &str,
    names: [&str; N],
) -> Option<[Option<Field>; N]> {
    let base = Btf::parse(base).unwrap_or_default();
    let own = Btf::parse(types)?;
    let named = |at: u32, wanted: &str| {
        let base_length = base.strings.len() as u32;
        let text = match at.checked_sub(base_length) {
            Some(at) => own.strings.get(at as usize..),
            None => base.strings.get(at as usize..),
        };
        text.and_then(|text| text.strip_prefix(wanted.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    };
    let mut rest = own.types;
    while let Some((name, info, _)) = word3(rest) {
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let length = 12 + extra(kind, count)?;
        if kind == STRUCT && named(name, structure) {
            let members = rest.get(12..length)?.chunks_exact(12);
            return Some(names.map(|wanted| {
                members.clone().find_map(|member| {
                    let (name, _, offset) = word3(member)?;
                    // With the flag, the high byte is the field's width in bits.
                    let bit = match info >> 31 {
                        0 => offset,
                        _ => offset & 0x00ff_ffff,
                    };
                    named(name, wanted).then_some(Field { bit })
                })
            }));
        }
        rest = rest.get(length..)?;
    }
    None
}

#[derive(Default)]
struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Btf<'a> {
    /// Of this machine's byte order: of another, the magic number does not fit.
    fn parse(file: &'a [u8]) -> Option<Self> {
        if file.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let word = |at: usize| {
            let bytes = file.get(at..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes) as usize)
        };
        let part = |from: usize| {
            let start = word(4)?.checked_add(word(from)?)?;
            file.get(start..start.checked_add(word(from + 4)?)?)
        };
        Some(Self {
            types: part(8)?,
            strings: part(16)?,
        })
    }
}

fn word3(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let (words, _) = bytes.get(..12)?.as_chunks();
    let [a, b, c] = words else { return None };
    Some((
        u32::from_ne_bytes(*a),
        u32::from_ne_bytes(*b),
        u32::from_ne_bytes(*c),
    ))
}

/// Bytes behind the first twelve of a type; `None` for a kind that is not known.
fn extra(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        STRUCT | 5 | 15 | 19 => 12 * count,
        // ENUM, FUNC_PROTO
        6 | 13 => 8 * count,
        _ => return None,
    })
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let length = types.len() as u32 * 4;
        let mut file = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32]
            .iter()
            .chain(types)
            .flat_map(|word| word.to_ne_bytes())
            .collect::<Vec<_>>();
        file.extend(strings);
        file
    }

    #[test]
    fn fields_are_found_over_both_files() {
        let base = file(&[], b"\0int\0cookie\0");
        // An int, an array, then `struct meta { cookie; flag:1; }` with a name of each file.
        let types = [
            1,
            1 << 24,
            4,
            32, //
            0,
            3 << 24,
            0,
            1,
            1,
            4, //
            12,
            1 << 31 | 4 << 24 | 2,
            16,
            5,
            1,
            64,
            17,
            1,
            1 << 24 | 99,
        ];
        let own = file(&types, b"meta\0flag\0");
        let found = fields(&base, &own, "meta", ["cookie", "flag", "none"]);
        let field = |bit| Some(Field { bit });
        assert_eq!(found, Some([field(64), field(99), None]));
        assert_eq!(fields(&base, &own, "met", ["cookie"]), None);
        assert_eq!(fields(&[], &base, "meta", ["cookie"]), None);
        assert_eq!(
            (Field { bit: 99 }.byte(), Field { bit: 99 }.mask()),
            (12, 8)
        );
    }

    #[test]
    fn no_input_does_harm() {
        let whole = file(&[12, 4 << 24 | 200, 16, 5, 1, 64], b"meta\0flag\0");
        for end in 0..whole.len() {
            let mut cut = whole[..end].to_vec();
            fields(&cut, &cut, "meta", ["flag"]);
            if let Some(last) = cut.last_mut() {
                *last = 0xff;
            }
            fields(&cut, &cut, "meta", ["flag"]);
        }
    }

    /// This machine's own types, where it tells them.
    #[test]
    fn the_kernels_types_are_read() {
        let Ok(kernel) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        let found = fields(&[], &kernel, "sk_buff", ["len", "data_len", "data"]).unwrap();
        let [Some(length), Some(paged), Some(_)] = found else {
            panic!("{found:?}");
        };
        assert_eq!(length.bit + 32, paged.bit);
    }
}
