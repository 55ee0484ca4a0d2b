//! The C library libjpeg-turbo (as mozjpeg keeps it), behind a safe interface.
//!
//! The one module that calls it. The library reports an error by a call that must not return; here that call
//! unwinds through the library, which is built for it, up to the function that was called.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mozjpeg_sys as c;

/// Samples and coefficients of a block.
pub(super) const BLOCK: usize = 64;

/// The most scans of a progressive image: more than any encoder writes, few enough to bound the time.
const MAX_SCANS: i32 = 256;

/// A JPEG whose header has been read.
pub(super) struct Jpeg<'a> {
    state: Box<State>,
    _bytes: &'a [u8],
}

/// What the library points into; it stays where it is.
struct State {
    info: c::jpeg_decompress_struct,
    errors: c::jpeg_error_mgr,
    progress: c::jpeg_progress_mgr,
    /// The first complaint about the image's data, on the heap of its own because the library's calls write it.
    damage: Box<RefCell<Option<String>>>,
}

/// The colours of the samples in the file, or wanted of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorSpace {
    Grey,
    YCbCr,
    Rgb,
    /// With or without a colour transform.
    Cmyk,
    Other,
}

/// A component of the image: how many samples it has a block of the coarsest one, and where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Blocks in a line of blocks.
    pub(super) width_in_blocks: usize,
    pub(super) height_in_blocks: usize,
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        #[expect(
            unsafe_code,
            reason = "the library's structures are plain data for which zero means `not yet set`; it is given \
                      their addresses in a box that lives as long as it does, and the bytes' with their length"
        )]
        unsafe {
            let mut state: Box<State> = Box::new(State {
                info: std::mem::zeroed(),
                errors: std::mem::zeroed(),
                progress: std::mem::zeroed(),
                damage: Box::default(),
            });
            c::jpeg_std_error(&mut state.errors);
            state.errors.error_exit = Some(fail);
            state.errors.emit_message = Some(complain);
            state.info.common.err = &raw mut state.errors;
            state.progress.progress_monitor = Some(watch);
            let mut jpeg = Self {
                state,
                _bytes: bytes,
            };
            jpeg.guarded(|state| {
                c::jpeg_create_decompress(&raw mut state.info);
                state.info.common.client_data = (&raw const *state.damage).cast_mut().cast();
                state.info.common.progress = &raw mut state.progress;
                c::jpeg_mem_src(&mut state.info, bytes.as_ptr(), bytes.len() as _);
                c::jpeg_read_header(&mut state.info, 1);
            })?;
            Ok(jpeg)
        }
    }

    /// Width and height in pixels, both above 0.
    pub(super) fn size(&self) -> (usize, usize) {
        let info = &self.state.info;
        (info.image_width as usize, info.image_height as usize)
    }

    pub(super) fn color_space(&self) -> ColorSpace {
        match self.state.info.jpeg_color_space {
            c::J_COLOR_SPACE::JCS_GRAYSCALE => ColorSpace::Grey,
            c::J_COLOR_SPACE::JCS_YCbCr => ColorSpace::YCbCr,
            c::J_COLOR_SPACE::JCS_RGB => ColorSpace::Rgb,
            c::J_COLOR_SPACE::JCS_CMYK | c::J_COLOR_SPACE::JCS_YCCK => ColorSpace::Cmyk,
            _ => ColorSpace::Other,
        }
    }

    pub(super) fn components(&self) -> Vec<Component> {
        let info = &self.state.info;
        #[expect(
            unsafe_code,
            reason = "after the header the library has so many components at that address"
        )]
        let components = unsafe {
            std::slice::from_raw_parts(info.comp_info.cast_const(), info.num_components as usize)
        };
        let describe = |component: &c::jpeg_component_info| Component {
            horizontal: component.h_samp_factor as usize,
            vertical: component.v_samp_factor as usize,
            width_in_blocks: component.width_in_blocks as usize,
            height_in_blocks: component.height_in_blocks as usize,
        };
        components.iter().map(describe).collect()
    }

    /// Decodes to samples of the wanted colours, line by line.
    pub(super) fn samples(mut self, wanted: ColorSpace) -> Result<Vec<u8>, String> {
        let (width, height) = self.size();
        let (space, channels) = match wanted {
            ColorSpace::Grey => (c::J_COLOR_SPACE::JCS_GRAYSCALE, 1),
            ColorSpace::Cmyk => (c::J_COLOR_SPACE::JCS_CMYK, 4),
            _ => (c::J_COLOR_SPACE::JCS_RGB, 3),
        };
        let mut samples = vec![0; width * height * channels];
        #[expect(
            unsafe_code,
            reason = "the library writes a line of `width` pixels of `channels` bytes to each address, and \
                      exactly such lines are handed to it"
        )]
        self.guarded(|state| unsafe {
            let info = &mut state.info;
            info.out_color_space = space;
            c::jpeg_start_decompress(info);
            for line in samples.chunks_exact_mut(width * channels) {
                let mut address = line.as_mut_ptr();
                c::jpeg_read_scanlines(info, &raw mut address, 1);
            }
            c::jpeg_finish_decompress(info);
        })?;
        self.undamaged(samples)
    }

    /// Reads all coefficients and hands them out by lines of blocks: the component's number, the line of blocks,
    /// its blocks, and the component's quantisation table.
    ///
    /// Gives `false`, and hands nothing out, if a progressive image does not come to its full precision: the library
    /// smooths such images by rules of its own.
    pub(super) fn coefficients(
        mut self,
        mut take: impl FnMut(usize, usize, &[[i16; BLOCK]], &[u16; BLOCK]),
    ) -> Result<bool, String> {
        let components = self.components();
        #[expect(
            unsafe_code,
            reason = "the library gives an array of blocks for each component and the tables of all of them; a line \
                      of blocks is asked for within the component's height, has at least its width, and is \
                      lent out until the next one is asked for"
        )]
        let complete = self.guarded(|state| unsafe {
            let info = &mut state.info;
            let arrays = c::jpeg_read_coefficients(info);
            if !info.coef_bits.is_null() {
                let precision: &[i32] =
                    std::slice::from_raw_parts(info.coef_bits.cast(), components.len() * BLOCK);
                if precision.iter().any(|missing| *missing != 0) {
                    return false;
                }
            }
            let access = (*info.common.mem).access_virt_barray;
            for (number, component) in components.iter().enumerate() {
                let table = (*info.comp_info.add(number)).quant_table;
                let (Some(access), Some(table)) = (access, table.as_ref()) else {
                    return false;
                };
                for line in 0..component.height_in_blocks {
                    let array = *arrays.add(number);
                    let rows = access(&mut info.common, array, line as u32, 1, 0);
                    let blocks: *const [i16; BLOCK] = (*rows).cast();
                    let blocks = std::slice::from_raw_parts(blocks, component.width_in_blocks);
                    take(number, line, blocks, &table.quantval);
                }
            }
            c::jpeg_finish_decompress(info);
            true
        })?;
        self.undamaged(complete)
    }

    fn undamaged<T>(&mut self, result: T) -> Result<T, String> {
        match self.state.damage.take() {
            Some(damage) => Err(damage),
            None => Ok(result),
        }
    }

    /// Calls the library; its errors come back as their messages.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut State) -> T) -> Result<T, String> {
        let state = &mut *self.state;
        catch_unwind(AssertUnwindSafe(|| call(state))).map_err(|cause| {
            match cause.downcast::<Failure>() {
                Ok(failure) => failure.0,
                Err(other) => resume_unwind(other),
            }
        })
    }
}

impl Drop for Jpeg<'_> {
    fn drop(&mut self) {
        // A structure that was never created is left alone by the library: its memory manager is not set.
        #[expect(
            unsafe_code,
            reason = "frees what the library holds, whatever state it was left in"
        )]
        unsafe {
            c::jpeg_destroy_decompress(&mut self.state.info);
        }
    }
}

/// An error of the library on its way through it.
struct Failure(String);

/// The library's text for its last message.
fn message(info: &mut c::jpeg_common_struct) -> String {
    // The bindings take the buffer that the library fills as if it only read it; `black_box` keeps the compiler from
    // believing them.
    let buffer = [0u8; 80];
    #[expect(
        unsafe_code,
        reason = "the library set `err` to the structure that `open` gave it, and writes at most 80 bytes with a 0"
    )]
    unsafe {
        if let Some(format) = (*info.err).format_message {
            format(info, std::hint::black_box(&buffer));
        }
    }
    let buffer = std::hint::black_box(buffer);
    let text = buffer.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

extern "C-unwind" fn fail(info: &mut c::jpeg_common_struct) {
    let text = message(info);
    resume_unwind(Box::new(Failure(text)));
}

/// Remembers a warning (level -1) that means lost pixels. Bytes between segments, which the decoder skips, do not.
extern "C-unwind" fn complain(info: &mut c::jpeg_common_struct, level: i32) {
    if level != -1 {
        return;
    }
    let text = message(info);
    let lost = text.starts_with("Premature end")
        || (text.starts_with("Corrupt JPEG data") && !text.contains("extraneous bytes"));
    #[expect(
        unsafe_code,
        reason = "`open` set `client_data` to the cell, which lives as long as the library's structures"
    )]
    let damage = unsafe { &*info.client_data.cast::<RefCell<Option<String>>>() };
    if lost {
        damage.borrow_mut().get_or_insert(text);
    }
}

/// Stops an image of endlessly many scans, each of which costs a pass over all its blocks.
extern "C-unwind" fn watch(info: &mut c::jpeg_common_struct) {
    #[expect(
        unsafe_code,
        reason = "the common part is the first field of the structure for decoding, the only one made here"
    )]
    let scan =
        unsafe { (*(&raw const *info).cast::<c::jpeg_decompress_struct>()).input_scan_number };
    if scan > MAX_SCANS {
        resume_unwind(Box::new(Failure(format!("more than {MAX_SCANS} scans"))));
    }
}
