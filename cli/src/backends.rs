//! `videomae backends`.

use anyhow::Result;
use serde::Serialize;

use crate::arguments::Backends;

#[derive(Serialize)]
struct Row {
    name: String,
    available: bool,
    /// What it is, or why it cannot run here.
    detail: String,
}

pub(crate) fn run(options: &Backends) -> Result<()> {
    let rows: Vec<Row> = kernels::available()
        .into_iter()
        .map(|info| match info.runnable {
            Ok(()) => Row { name: info.name, available: true, detail: info.description },
            Err(reason) => Row { name: info.name, available: false, detail: reason },
        })
        .collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for Row { name, available, detail } in &rows {
        println!("{}  {name:width$}  {detail}", if *available { "yes" } else { "no " });
    }
    Ok(())
}
