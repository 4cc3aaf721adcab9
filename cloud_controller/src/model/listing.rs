//! Pages of a table: which rows match the filters of a query and may be seen, in which order.
//!
//! Column names and fragments are constants of this crate; whatever came from outside is bound.

use chrono::{DateTime, Duration, NaiveDateTime, SubsecRound as _, Utc};
use cupola_db::{Conn, sql};
use cupola_http::filter::{Filter, Operator};
use cupola_http::paging::Order;
use cupola_http::{ApiError, ListQuery, api_error};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Timestamp};

use crate::error::Fail;

/// How a collection may be filtered and sorted.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The table, or a join that has the columns `id` and `guid` of one.
    pub(crate) table: &'static str,
    /// Known filter keys.
    pub(crate) filters: &'static [(&'static str, Column)],
    /// Attributes to sort by; the first is the default.
    pub(crate) sortable: &'static [&'static str],
}

/// What a filter compares. The text holds one `{column}`, around which may stand a sub-select.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// As it is.
    Text(&'static str),
    /// A column that holds lower-case text: the case of the value does not matter.
    Folded(&'static str),
    /// True or false.
    Bool(&'static str),
    /// A time, compared in whole seconds.
    Time(&'static str),
}

/// A growing `WHERE`, with what is bound in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Where {
    /// Each with a `?` per bound value.
    fragments: Vec<String>,
    binds: Vec<Bind>,
}

#[derive(Debug, Clone)]
pub(crate) enum Bind {
    Text(String),
    Bool(bool),
    Time(NaiveDateTime),
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// One page: how many rows match in all, and the ids of those on it.
#[derive(Debug)]
pub(crate) struct Ids {
    pub(crate) total: u64,
    pub(crate) ids: Vec<i64>,
}

// === impl Where ===

impl Where {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub(crate) fn and<const N: usize>(mut self, fragment: &str, texts: [&str; N]) -> Self {
        self.fragments.push(fragment.to_owned());
        self.binds
            .extend(texts.map(|text| Bind::Text(text.to_owned())));
        self
    }

    /// Adds "the column is one of these".
    pub(crate) fn and_in(mut self, column: &str, values: &[String]) -> Self {
        let places = vec!["?"; values.len()].join(",");
        let binds = values.iter().cloned().map(Bind::Text).collect();
        self.push(format!("{column} IN ({places})"), binds);
        self
    }

    fn push(&mut self, fragment: String, binds: Vec<Bind>) {
        self.fragments.push(fragment);
        self.binds.extend(binds);
    }

    /// The text with numbered places, which both engines understand.
    fn to_sql(&self) -> String {
        if self.fragments.is_empty() {
            return String::new();
        }
        let joined = self
            .fragments
            .iter()
            .map(|f| format!("({f})"))
            .collect::<Vec<_>>()
            .join(" AND ");
        let mut numbered = String::with_capacity(joined.len() + 16);
        let mut pieces = joined.split('?');
        numbered.push_str(pieces.next().unwrap_or_default());
        for (index, piece) in pieces.enumerate() {
            numbered.push_str(&format!("${}", index + 1));
            numbered.push_str(piece);
        }
        format!(" WHERE {numbered}")
    }
}

// === impl Listing ===

impl Listing {
    /// The page that `query` asks for among the rows of `seen`.
    pub(crate) fn page(&self, c: &mut Conn, query: &ListQuery, seen: Where) -> Result<Ids, Fail> {
        let mut wanted = seen;
        for filter in &query.filters {
            let known = self.filters.iter().find(|(key, _)| *key == filter.key);
            let Some((_, column)) = known else {
                return Err(api_error::BAD_QUERY_PARAMETER.with(&filter.key).into());
            };
            column.add(filter, &mut wanted)?;
        }
        let by = match query.order_by_one_of(self.sortable)? {
            None => "id",
            // The one public name that is not the column's.
            Some("timestamp") => "created_at",
            Some(column) => column,
        };
        let direction = if query.order == Order::Descending {
            "DESC"
        } else {
            "ASC"
        };
        let condition = wanted.to_sql();
        let table = self.table;
        let count = format!("SELECT COUNT(*) AS id FROM {table}{condition}");
        let total = run(c, &count, &wanted.binds)?
            .first()
            .map_or(0, |row| row.id);
        let select = format!(
            "SELECT id FROM {table}{condition} ORDER BY {by} {direction}, id {direction} \
             LIMIT {} OFFSET {}",
            query.limit(),
            query.offset()
        );
        let ids = run(c, &select, &wanted.binds)?
            .into_iter()
            .map(|row| row.id)
            .collect();
        Ok(Ids {
            total: u64::try_from(total).unwrap_or_default(),
            ids,
        })
    }

    /// The first `most` rows of `seen`, unfiltered, for expansion in place.
    pub(crate) fn all(&self, c: &mut Conn, seen: &Where, most: i64) -> QueryResult<Vec<i64>> {
        let select = format!(
            "SELECT id FROM {}{} ORDER BY id LIMIT {most}",
            self.table,
            seen.to_sql()
        );
        Ok(run(c, &select, &seen.binds)?
            .into_iter()
            .map(|row| row.id)
            .collect())
    }
}

// === impl Column ===

impl Column {
    fn add(self, filter: &Filter, wanted: &mut Where) -> Result<(), ApiError> {
        let bad = |e: cupola_http::filter::FilterError| api_error::BAD_QUERY_PARAMETER.with(e);
        let (template, condition, binds) = match self {
            Column::Text(template) => text(template, filter, |v| v.to_owned()),
            Column::Folded(template) => text(template, filter, str::to_lowercase),
            Column::Bool(template) => (
                template,
                format!("{} = ?", column_of(template)),
                vec![Bind::Bool(filter.as_bool())],
            ),
            Column::Time(template) => {
                let (condition, binds) = time(
                    column_of(template),
                    filter.operator,
                    filter.as_time().map_err(bad)?,
                );
                (template, condition, binds)
            }
        };
        let column = format!("{{{}}}", column_of(template));
        wanted.push(template.replace(&column, &condition), binds);
        Ok(())
    }
}

/// The name between the braces.
fn column_of(template: &'static str) -> &'static str {
    template
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or(template, |(column, _)| column)
}

fn text(
    template: &'static str,
    filter: &Filter,
    fold: impl Fn(&str) -> String,
) -> (&'static str, String, Vec<Bind>) {
    let column = column_of(template);
    if filter.wants_empty() {
        return (
            template,
            format!("{column} IS NULL OR {column} = ''"),
            Vec::new(),
        );
    }
    let binds: Vec<Bind> = filter.values.iter().map(|v| Bind::Text(fold(v))).collect();
    let condition = match filter.operator {
        Operator::In => format!("{column} IN ({})", vec!["?"; binds.len()].join(",")),
        Operator::Equal => format!("{column} = ?"),
        Operator::AtLeast => format!("{column} >= ?"),
        Operator::AtMost => format!("{column} <= ?"),
        Operator::Greater => format!("{column} > ?"),
        Operator::Less => format!("{column} < ?"),
    };
    (template, condition, binds)
}

/// A given second stands for the whole of it.
fn time(column: &str, operator: Operator, at: DateTime<Utc>) -> (String, Vec<Bind>) {
    let second = at.naive_utc().trunc_subsecs(0);
    let next = second + Duration::seconds(1);
    let (condition, binds) = match operator {
        Operator::Equal | Operator::In => (
            format!("{column} >= ? AND {column} < ?"),
            vec![second, next],
        ),
        Operator::AtLeast => (format!("{column} >= ?"), vec![second]),
        Operator::Greater => (format!("{column} >= ?"), vec![next]),
        Operator::AtMost => (format!("{column} < ?"), vec![next]),
        Operator::Less => (format!("{column} < ?"), vec![second]),
    };
    (condition, binds.into_iter().map(Bind::Time).collect())
}

fn run(c: &mut Conn, statement: &str, binds: &[Bind]) -> QueryResult<Vec<IdRow>> {
    sql!(c, c => {
        let mut query = diesel::sql_query(statement).into_boxed();
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind::<Text, _>(text),
                Bind::Bool(flag) => query.bind::<Bool, _>(flag),
                Bind::Time(time) => query.bind::<Timestamp, _>(time),
            };
        }
        query.load::<IdRow>(c)
    })
}
