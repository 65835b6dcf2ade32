-- Queries by day and by name follow an index. A date that is not eight digits, with or without dots, and a name that is not plain
-- ASCII, or has several groups or values, stands under '?', where each such query looks too.
ALTER TABLE studies ADD COLUMN day TEXT GENERATED ALWAYS AS (
    CASE WHEN trim(coalesce(json_extract(attributes, '$."00080020"'), '')) = '' THEN ''
         WHEN replace(json_extract(attributes, '$."00080020"'), '.', '') GLOB '[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
         THEN replace(json_extract(attributes, '$."00080020"'), '.', '')
         ELSE '?' END) VIRTUAL;
ALTER TABLE studies ADD COLUMN name TEXT GENERATED ALWAYS AS (
    CASE WHEN coalesce(json_extract(attributes, '$."00100010"'), '') = '' THEN ''
         WHEN json_extract(attributes, '$."00100010"') GLOB '*[^ -~]*' OR json_extract(attributes, '$."00100010"') GLOB '*[=\]*'
         THEN '?'
         ELSE rtrim(lower(trim(json_extract(attributes, '$."00100010"'))), '^ ') END) VIRTUAL;
CREATE INDEX studies_day ON studies (day);
CREATE INDEX studies_name ON studies (name);

-- Whether anything of a study is kept is told by the index alone.
DROP INDEX instances_study;
CREATE INDEX instances_study ON instances (study, series, state, behind, borrowed);
