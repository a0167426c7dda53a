//! Checks the schema in a footer before it is decoded: decoding recurses as deep as groups are nested, and reserves
//! room for the number of fields that a group claims.
//!
//! A footer is a structure in Thrift's compact protocol, whose field 2 is the list of the schema's elements, depth
//! first. The field 5 of an element is the number of its fields, which come after it (`parquet.thrift`).

/// The maximum nesting of groups.
const DEPTH_MAX: usize = 64;
/// The maximum nesting of structures of other fields.
const SKIPS_MAX: u32 = 64;

const BOOLEANS: [u8; 2] = [1, 2];
const BYTE: u8 = 3;
const INTEGERS: [u8; 3] = [4, 5, 6];
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LISTS: [u8; 2] = [9, 10];
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Checks that the schema can be decoded.
pub(super) fn check(footer: &[u8]) -> Result<(), &'static str> {
    let mut input = Input(footer);
    let mut id = 0;
    while let Some((field, kind)) = input.field(id)? {
        id = field;
        if field == 2 && LISTS.contains(&kind) {
            return check_schema(&mut input);
        }
        input.skip(kind, SKIPS_MAX)?;
    }
    Err("its footer has no schema")
}

fn check_schema(input: &mut Input<'_>) -> Result<(), &'static str> {
    let (elements, kind) = input.list()?;
    if kind != STRUCT {
        return Err("its footer has no schema");
    }
    // The remaining fields of each open group.
    let mut open: Vec<u64> = Vec::new();
    for element in 0..elements {
        let (mut id, mut fields) = (0, 0);
        while let Some((field, kind)) = input.field(id)? {
            id = field;
            if field == 5 && INTEGERS.contains(&kind) {
                fields = zigzag(input.varint()?);
            } else {
                input.skip(kind, SKIPS_MAX)?;
            }
        }
        let fields = u64::try_from(fields).map_err(|_| "a group has less than no fields")?;
        if fields > elements - element - 1 {
            return Err("a group has more fields than there are");
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if fields > 0 {
            open.push(fields);
        }
        if open.len() > DEPTH_MAX {
            return Err("its groups are nested more than 64 deep");
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

const fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

const CUT_OFF: &str = "its footer is cut off";

/// The rest of a structure.
struct Input<'f>(&'f [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&byte, rest) = self.0.split_first().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(byte)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), &'static str> {
        let bytes = usize::try_from(bytes).map_err(|_| CUT_OFF)?;
        self.0 = self.0.get(bytes..).ok_or(CUT_OFF)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("its footer has a number that does not end")
    }

    /// The number and the type of the next field, after one with the number `before`.
    fn field(&mut self, before: i64) -> Result<Option<(i64, u8)>, &'static str> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => zigzag(self.varint()?),
            more => before.wrapping_add(i64::from(more)),
        };
        Ok(Some((id, head & 0x0F)))
    }

    /// The number of elements of a list, and their type.
    fn list(&mut self) -> Result<(u64, u8), &'static str> {
        let head = self.byte()?;
        let elements = match head >> 4 {
            15 => self.varint()?,
            few => u64::from(few),
        };
        // Each takes a byte at least.
        if elements > self.0.len() as u64 {
            return Err(CUT_OFF);
        }
        Ok((elements, head & 0x0F))
    }

    fn skip(&mut self, kind: u8, deep: u32) -> Result<(), &'static str> {
        let deeper = deep.checked_sub(1).ok_or("its footer is nested more than 64 deep")?;
        match kind {
            _ if BOOLEANS.contains(&kind) => Ok(()),
            BYTE => self.advance(1),
            _ if INTEGERS.contains(&kind) => self.varint().map(drop),
            DOUBLE => self.advance(8),
            BINARY => {
                let bytes = self.varint()?;
                self.advance(bytes)
            }
            _ if LISTS.contains(&kind) => {
                let (elements, kind) = self.list()?;
                (0..elements).try_for_each(|_| self.skip_element(kind, deeper))
            }
            MAP => self.skip_map(deeper),
            STRUCT => {
                let mut id = 0;
                while let Some((field, kind)) = self.field(id)? {
                    id = field;
                    self.skip(kind, deeper)?;
                }
                Ok(())
            }
            _ => Err("its footer has a field of an unknown type"),
        }
    }

    fn skip_map(&mut self, deep: u32) -> Result<(), &'static str> {
        let entries = self.varint()?;
        if entries == 0 {
            return Ok(());
        }
        if entries > self.0.len() as u64 {
            return Err(CUT_OFF);
        }
        let kinds = self.byte()?;
        (0..entries).try_for_each(|_| {
            self.skip_element(kinds >> 4, deep)?;
            self.skip_element(kinds & 0x0F, deep)
        })
    }

    /// A boolean is stored in the head of a field, and in a separate byte elsewhere.
    fn skip_element(&mut self, kind: u8, deep: u32) -> Result<(), &'static str> {
        if BOOLEANS.contains(&kind) { self.advance(1) } else { self.skip(kind, deep) }
    }
}
