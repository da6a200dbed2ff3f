//! What a result has to stand beside: device, driver, clocks, commit, date.

use std::{process::Command, time::SystemTime};

use anyhow::{Result, anyhow, ensure};
use cudarc::driver::{DriverError, result::device, sys};
use serde::Serialize;

use crate::{arguments::Options, clock};

/// Where and with what something was run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The name of the GPU.
    pub(crate) device: String,
    /// Its compute capability.
    pub(crate) capability: (i32, i32),
    /// Of the driver, as nvidia-smi tells it.
    pub(crate) driver: Option<String>,
    /// The newest CUDA that the driver knows, as 1000 · major + 10 · minor.
    pub(crate) cuda: i32,
    /// Of the sources; with `+` if something was changed after it.
    pub(crate) commit: &'static str,
    /// Of the start, UTC.
    pub(crate) date: String,
    pub(crate) seed: u64,
}

impl Machine {
    /// The machine with the GPU that was asked for.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn here(options: &Options) -> Result<Self> {
        let names = kernels_cuda::devices().map_err(|reason| anyhow!("no GPU to check: {reason}"))?;
        ensure!(!names.is_empty(), "no GPU to check: the driver finds none");
        kernels_cuda::check(options.device)
            .map_err(|reason| anyhow!("cannot check GPU {}: {reason}", options.device))?;
        let (capability, cuda) =
            ask_driver(options.device).map_err(|error| anyhow!("asking the driver: {error:?}"))?;
        Ok(Self {
            device: names[options.device].clone(),
            capability,
            driver: query(options.device, "driver_version").and_then(|fields| fields.into_iter().next()),
            cuda,
            commit: env!("GPU_CHECK_COMMIT"),
            date: clock::iso(SystemTime::now()),
            seed: options.seed,
        })
    }

    /// Whether the kernels for compute capability 9.0 can run here; if not, why.
    pub(crate) fn runs_hopper(&self) -> std::result::Result<(), String> {
        match self.capability {
            (9, 0) => Ok(()),
            (major, minor) => Err(format!("needs compute capability 9.0, found {major}.{minor}")),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, capability: (major, minor), driver, cuda, commit, date, seed } = self;
        let driver = driver.as_deref().unwrap_or("of unknown version");
        let (cuda_major, cuda_minor) = (cuda / 1000, cuda % 1000 / 10);
        write!(
            f,
            "{device}, compute capability {major}.{minor}, driver {driver} (CUDA {cuda_major}.{cuda_minor}), commit \
             {commit}, {date}, seed {seed}"
        )
    }
}

/// Compute capability, and the newest CUDA, of a device that was seen to be there.
fn ask_driver(ordinal: usize) -> std::result::Result<((i32, i32), i32), DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = device::get(ordinal as i32)?;
    // SAFETY: the driver has just given the device.
    let capability =
        unsafe { (device::get_attribute(device, MAJOR)?, device::get_attribute(device, MINOR)?) };
    let mut cuda = 0;
    // SAFETY: a number is written to a number.
    unsafe { sys::cuDriverGetVersion(&mut cuda) }.result()?;
    Ok((capability, cuda))
}

/// The state of a GPU, as nvidia-smi tells it; what it does not know is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Clocks {
    pub(crate) sm_mhz: Option<f64>,
    pub(crate) memory_mhz: Option<f64>,
    pub(crate) most_sm_mhz: Option<f64>,
    pub(crate) watts: Option<f64>,
    pub(crate) celsius: Option<f64>,
}

impl Clocks {
    /// Now.
    pub(crate) fn now(device: usize) -> Self {
        let fields = "clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu";
        Self::parse(&query(device, fields).unwrap_or_default())
    }

    fn parse(fields: &[String]) -> Self {
        let number = |i: usize| fields.get(i).and_then(|field| field.parse().ok());
        Self {
            sm_mhz: number(0),
            memory_mhz: number(1),
            most_sm_mhz: number(2),
            watts: number(3),
            celsius: number(4),
        }
    }
}

/// What nvidia-smi, which comes with the driver, says of a device; nothing where it is not there.
fn query(device: usize, fields: &str) -> Option<Vec<String>> {
    let output = Command::new("nvidia-smi")
        .args([&format!("--id={device}"), &format!("--query-gpu={fields}"), "--format=csv,noheader,nounits"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().filter(|_| output.status.success())?;
    Some(line.split(',').map(|field| field.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nvidia_smi_does_not_know_is_absent() {
        let fields = ["1980", "2619", "[N/A]", "312.55", "41"].map(str::to_owned);
        let clocks = Clocks::parse(&fields);
        assert_eq!((clocks.sm_mhz, clocks.most_sm_mhz, clocks.watts), (Some(1980.0), None, Some(312.55)));
        assert_eq!(Clocks::parse(&[]), Clocks::default());
    }
}
