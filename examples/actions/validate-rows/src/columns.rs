//! The columns that a row can have, under the names that files give them.

use schemars::JsonSchema;
use serde::Serialize;

/// What a row says; a cell that is empty says nothing.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Cells {
    pub email: Option<String>,
    pub name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub phone: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Email,
    Name,
    FirstName,
    LastName,
    JobTitle,
    Phone,
    City,
}

/// The column that a file calls so, whatever its capitals, blanks and dashes.
pub fn named(name: &str) -> Option<Column> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match plain.to_ascii_lowercase().as_str() {
        "email" | "mail" | "emailaddress" => Column::Email,
        "name" | "fullname" => Column::Name,
        "firstname" | "givenname" => Column::FirstName,
        "lastname" | "surname" | "familyname" => Column::LastName,
        "jobtitle" | "title" | "position" => Column::JobTitle,
        "phone" | "telephone" | "tel" | "phonenumber" => Column::Phone,
        "city" | "town" => Column::City,
        _ => return None,
    })
}

impl Cells {
    pub fn set(&mut self, column: Column, text: &str) {
        let text = text.trim();
        let cell = match column {
            Column::Email => &mut self.email,
            Column::Name => &mut self.name,
            Column::FirstName => &mut self.first_name,
            Column::LastName => &mut self.last_name,
            Column::JobTitle => &mut self.job_title,
            Column::Phone => &mut self.phone,
            Column::City => &mut self.city,
        };
        *cell = if text.is_empty() { None } else { Some(text.to_owned()) };
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let cells = [
            ("email", &self.email),
            ("name", &self.name),
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("job_title", &self.job_title),
            ("phone", &self.phone),
            ("city", &self.city),
        ];
        cells.into_iter().filter_map(|(name, cell)| Some((name, cell.as_deref()?)))
    }
}
