//! Rows for retrieval: the extent of a resource, and its kept instances page by page.

use super::rows::{Fault, count, parsed, place};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, TransferSyntaxUid};
use crate::records::{Extent, InstanceId, Resource, Retrievable};
use crate::store::Digest;
use rusqlite::{Connection, params};

/// Instances of a page.
const PAGE: i64 = 256;

const OF_RESOURCE: &str = "FROM instances i JOIN series r ON r.id = i.series JOIN blobs b ON b.id = i.blob \
    WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND (?2 IS NULL OR r.uid = ?2) AND (?3 IS NULL OR i.sop_uid = ?3) \
    AND i.behind IS NULL";

fn names(resource: &Resource) -> (&str, Option<&str>, Option<&str>) {
    let series = resource.series.as_ref().map(SeriesUid::as_str);
    (resource.study.as_str(), series, resource.instance.as_ref().map(InstanceUid::as_str))
}

/// See [`crate::records::Records::extent`].
pub(in crate::records) fn extent(conn: &Connection, resource: &Resource) -> Result<Extent, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.state, i.transfer_syntax, count(*) {OF_RESOURCE} GROUP BY i.state, i.transfer_syntax"
    ))?;
    let mut rows = find.query(names(resource))?;
    let mut extent = Extent::default();
    while let Some(row) = rows.next()? {
        let instances = count(row.get(2)?);
        match row.get::<_, String>(0)?.as_str() {
            "stored" => {
                extent.stored += instances;
                let syntax: String = row.get(1)?;
                extent.syntaxes.push(parsed(&syntax, "Transfer Syntax UID", TransferSyntaxUid::parse)?);
            }
            "purged" => extent.purged += instances,
            "corrupt" => extent.damaged += instances,
            _ => {}
        }
    }
    Ok(extent)
}

/// See [`crate::records::Records::retrievable`].
pub(in crate::records) fn page(
    conn: &Connection,
    resource: &Resource,
    after: InstanceId,
) -> Result<Vec<Retrievable>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.id, i.sop_class, i.sop_uid, r.uid, i.transfer_syntax, i.sha256, i.length, b.file, b.shared, b.offset, b.length \
         {OF_RESOURCE} AND i.state = 'stored' AND i.id > ?4 ORDER BY i.id LIMIT ?5"
    ))?;
    let (study, series, instance) = names(resource);
    let mut rows = find.query(params![study, series, instance, after.0, PAGE])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        list.push(Retrievable {
            instance: InstanceId(row.get(0)?),
            sop_class: parsed(&text(1)?, "SOP Class UID", SopClassUid::parse)?,
            sop_instance: parsed(&text(2)?, "SOP Instance UID", InstanceUid::parse)?,
            study: resource.study.clone(),
            series: parsed(&text(3)?, "Series Instance UID", SeriesUid::parse)?,
            transfer_syntax: parsed(&text(4)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
            digest: Digest(row.get(5)?),
            length: count(row.get(6)?),
            place: place(row, 7)?,
        });
    }
    Ok(list)
}
