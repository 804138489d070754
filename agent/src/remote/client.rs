//! One repository of one server.

use super::address::Address;
use super::connection::{Connection, Options, Renew};
use super::problem::Problem;
use anyhow::Result;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::{Method, Url};

/// Talks to one repository of one server. Shared by all threads.
pub struct Client {
    connection: Connection,
    address: Address,
}

impl Client {
    /// Connects when it is first used.
    pub fn new(address: Address, options: Options) -> Result<Self> {
        Ok(Self { connection: Connection::new(address.server().clone(), options)?, address })
    }

    /// The same client, which looks for another token before it believes that its own is not taken any more.
    #[must_use]
    pub fn renewing(self, renew: Option<Renew>) -> Self {
        Self { connection: self.connection.renewing(renew), ..self }
    }

    /// Where it talks to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Makes a request, as [`Connection::ask`] does.
    pub fn ask<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
        take: impl Fn(Response) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.connection.ask(method, url, finish, take)
    }

    /// Makes a request that goes on where its line broke, as [`Connection::ask_going_on`] does.
    pub fn ask_going_on<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
        take: impl Fn(Response) -> Result<T, Problem>,
        went_on: impl Fn() -> Result<bool, Problem>,
    ) -> Result<T, Problem> {
        self.connection.ask_going_on(method, url, finish, take, went_on)
    }
}
