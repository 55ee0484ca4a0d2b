//! The protocol buffers of an event file, as far as they are written here.
//!
//! Field numbers: tensorboard/compat/proto/event.proto and summary.proto.

/// Starts an event; every event has a time in seconds since 1970 and a step.
fn event(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    tag(&mut event, 1, WireType::Fixed64);
    event.extend(time.to_le_bytes());
    tag(&mut event, 2, WireType::Varint);
    varint(&mut event, step);
    event
}

/// The first event of a file.
pub(crate) fn version(time: f64) -> Vec<u8> {
    let mut event = event(time, 0);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// A session that starts at a step: what earlier files say of this step and later ones no longer holds.
pub(crate) fn session_start(time: f64, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    let mut session = Vec::new();
    tag(&mut session, 1, WireType::Varint);
    varint(&mut session, START);
    let mut event = event(time, step);
    bytes(&mut event, 7, &session);
    event
}

/// Values at a step.
pub(crate) fn scalars(time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, number) in values {
        let mut value = Vec::new();
        bytes(&mut value, 1, name.as_bytes());
        tag(&mut value, 2, WireType::Fixed32);
        value.extend((*number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = event(time, step);
    bytes(&mut event, 5, &summary);
    event
}

/// A picture at a step; width and height are those of the PNG's first chunk.
pub(crate) fn image(time: f64, step: u64, name: &str, png: &[u8]) -> Vec<u8> {
    const RGB: u64 = 3;
    let number = |place: usize| {
        let bytes = png
            .get(place..place + 4)
            .and_then(|four| four.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    let (width, height) = (number(16), number(20));
    let mut image = Vec::new();
    for (field, number) in [(1, height.into()), (2, width.into()), (3, RGB)] {
        tag(&mut image, field, WireType::Varint);
        varint(&mut image, number);
    }
    bytes(&mut image, 4, png);
    let mut value = Vec::new();
    bytes(&mut value, 1, name.as_bytes());
    bytes(&mut value, 4, &image);
    let mut summary = Vec::new();
    bytes(&mut summary, 1, &value);
    let mut event = event(time, step);
    bytes(&mut event, 5, &summary);
    event
}

#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn tag(message: &mut Vec<u8>, field: u64, wire_type: WireType) {
    varint(message, field << 3 | wire_type as u64);
}

fn bytes(message: &mut Vec<u8>, field: u64, content: &[u8]) {
    tag(message, field, WireType::Bytes);
    varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
