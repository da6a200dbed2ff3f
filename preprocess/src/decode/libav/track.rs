//! Samples of a track, whose place is known, through one of FFmpeg's decoders.

use std::collections::BTreeSet;

use super::decoder::{Decoder, DecoderOptions};
use super::{bitstream, picture, text, version};
use crate::decode::reader::job::{Job, Position, Stop, failed};
use crate::decode::reader::{Codec, Engine};
use crate::decode::supervise::Reporter;
use crate::decode::yuv::Picture;

/// FFmpeg's decoders.
pub(super) struct Libav;

impl Engine for Libav {
    fn name() -> String {
        version()
    }

    fn run<C: Codec>(job: &mut Job<C>, reporter: &Reporter<(u32, Picture)>) -> Result<(), String> {
        Progress::new(job).and_then(|progress| progress.run(job, reporter)).map_err(|stop| match stop {
            Stop::Failed(cause) | Stop::Unsupported(cause) => cause,
        })
    }
}

/// A decoder and how far it has come.
struct Progress {
    decoder: Decoder,
    position: Position,
    /// The description that the decoder knows.
    description: Option<u32>,
    /// Samples that were asked for and whose pictures have not come out yet.
    awaited: BTreeSet<u32>,
}

impl Progress {
    fn new<C: Codec>(job: &Job<C>) -> Result<Self, Stop> {
        let coding = job.track.description(job.first_sample).coding;
        let id = bitstream::codec(coding)
            .ok_or_else(|| Stop::Unsupported(format!("no FFmpeg decoder for {}", C::NAME)))?;
        // Decoders set memory aside for whole blocks of up to 64 pixels.
        let (width, height) = job.header.decoded;
        let max_pixels = width.next_multiple_of(64) * height.next_multiple_of(64);
        let options = DecoderOptions { max_pixels, strict: true };
        let decoder = Decoder::new(id, options).map_err(Stop::Failed)?;
        Ok(Self { decoder, position: job.beginning(), description: None, awaited: BTreeSet::new() })
    }

    fn run<C: Codec>(mut self, job: &mut Job<C>, reporter: &Reporter<(u32, Picture)>) -> Result<(), Stop> {
        let decoded = self.decode_all(job, reporter);
        // What was decoded before a failure is right, and may still be inside the decoder.
        let finished = self.finish(job, reporter);
        decoded.and(finished)
    }

    fn decode_all<C: Codec>(
        &mut self,
        job: &mut Job<C>,
        reporter: &Reporter<(u32, Picture)>,
    ) -> Result<(), Stop> {
        for sample in job.samples.clone() {
            let target = sample as usize;
            let start = job.start_for(target, self.position)?;
            if self.position.next != Some(start) {
                self.finish(job, reporter)?;
                self.decoder.restart();
                self.position.start = start;
            }
            self.awaited.insert(sample);
            for index in start..=target {
                match self.decode(job, index, index == target, reporter) {
                    Err(Stop::Failed(_)) if index < target && job.is_lost(index, self.position.start) => {}
                    result => result?,
                }
                reporter.alive()?;
            }
        }
        Ok(())
    }

    /// Gives one sample to the decoder, unless nobody needs it, and takes what comes out.
    fn decode<C: Codec>(
        &mut self,
        job: &mut Job<C>,
        index: usize,
        wanted: bool,
        reporter: &Reporter<(u32, Picture)>,
    ) -> Result<(), Stop> {
        let bytes = job.read(index)?;
        let role = job.role(&bytes, index)?;
        self.position.next = Some(index + 1);
        if job.skips(&role) && !wanted {
            return Ok(());
        }
        let number = job.track.samples[index].description;
        let parameters = self.description.replace(number) != Some(number);
        let packet = bitstream::packet(index, &bytes, job.track.description(index), parameters);
        let packet = packet.map_err(|what| failed(index, what))?;
        self.decoder.send(&packet).map_err(|error| failed(index, text(error)))?;
        self.take(job, index, reporter)
    }

    /// Takes the pictures that are ready, of which `index` is the last sample that was decoded.
    fn take<C: Codec>(
        &mut self,
        job: &Job<C>,
        index: usize,
        reporter: &Reporter<(u32, Picture)>,
    ) -> Result<(), Stop> {
        while self.decoder.advance().map_err(|error| failed(index, text(error)))? {
            let frame = self.decoder.frame();
            let sample = frame.pts().and_then(|number| u32::try_from(number).ok());
            let Some(sample) = sample.filter(|sample| self.awaited.remove(sample)) else { continue };
            let damaged = |what| failed(sample as usize, what);
            if frame.has_decode_errors() {
                return Err(damaged("parts of it, or of one that it refers to, are damaged".to_owned()));
            }
            let picture = picture::picture(frame).and_then(|picture| job.finish(picture)).map_err(damaged)?;
            reporter.item((sample, picture))?;
        }
        Ok(())
    }

    /// Takes what the decoder has kept; after that it has to start anew.
    fn finish<C: Codec>(&mut self, job: &Job<C>, reporter: &Reporter<(u32, Picture)>) -> Result<(), Stop> {
        if let Some(&last) = self.awaited.last() {
            let last = last as usize;
            self.decoder.end().map_err(|error| failed(last, text(error)))?;
            self.take(job, last, reporter)?;
        }
        match self.awaited.first() {
            Some(&sample) => Err(failed(sample as usize, "slices are missing")),
            None => Ok(()),
        }
    }
}
